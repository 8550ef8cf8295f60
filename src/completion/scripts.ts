export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/**
 * What a shell reads to complete the command's words: it asks `qtunnel completion words …` for them, and completes the name of a file after `=` where that says none.
 */
export const SCRIPTS: Readonly<Record<Shell, string>> = {
  // bash takes what follows = or : for a word of its own, unless COMP_WORDBREAKS says otherwise; so the line is taken apart here.
  bash: `_qtunnel() {
  local line=\${COMP_LINE:0:COMP_POINT} words current start IFS=$' \\t\\n'
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=('')
  current=\${words[-1]}
  IFS=$'\\n'
  COMPREPLY=($(qtunnel completion words "\${words[@]:1}" 2>/dev/null))
  if [[ \${#COMPREPLY[@]} -eq 0 && $current == -*=* ]]; then
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "\${current#*=}"))
    [[ $COMP_WORDBREAKS == *=* ]] || COMPREPLY=("\${COMPREPLY[@]/#/\${current%%=*}=}")
  elif [[ $current == -*=* && $COMP_WORDBREAKS == *=* ]]; then
    start=\${current%%=*}=
    COMPREPLY=("\${COMPREPLY[@]#"$start"}")
  fi
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  return 0
}
complete -F _qtunnel qtunnel
`,
  zsh: `#compdef qtunnel
_qtunnel() {
  local -a found open
  found=(\${(f)"$(qtunnel completion words "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  if (( $#found )); then
    open=(\${(M)found:#*=})
    found=(\${found:#*=})
    (( $#open )) && compadd -S '' -- $open
    (( $#found )) && compadd -- $found
  elif [[ $PREFIX == -*=* ]]; then
    compset -P '*='
    _files
  fi
}
compdef _qtunnel qtunnel
`,
  fish: `function __qtunnel_words
  set -l current (commandline -ct)
  set -l before (commandline -opc)
  set -l found (qtunnel completion words $before[2..-1] "$current" 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else if string match -qr -- '^-[^=]*=' $current
    set -l parts (string split -m 1 = -- $current)
    for file in $parts[2]*
      test -d $file; and set file $file/
      echo $parts[1]=$file
    end
  end
end
complete -c qtunnel -f -a '(__qtunnel_words)'
`,
};
