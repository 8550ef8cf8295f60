import { byId, setText } from './dom.ts';

/** Makes every button with `data-close` close the dialog that it is in. */
export function prepareDialogs(): void {
  for (const closer of document.querySelectorAll('dialog [data-close]'))
    closer.addEventListener('click', () => closer.closest('dialog')?.close());
}

/** Asks before something that cannot be taken back. */
export function confirmRemoval(title: string, text: string): Promise<boolean> {
  const dialog = byId('confirm', HTMLDialogElement);
  setText(byId('confirm-title', HTMLElement), title);
  setText(byId('confirm-text', HTMLElement), text);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }));
}
