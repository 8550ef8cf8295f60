/** What runs on the identity thread, called by name through `runInWorker`. */
export { generatePrivateKey, makeCertificate } from './make-certificate.ts';
export { scryptSecret } from './scrypt-secret.ts';
