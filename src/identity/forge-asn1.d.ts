/** The part of node-forge that reads and writes DER: a tenth of it, which loads without the rest. */
declare module 'node-forge/lib/asn1.js' {
  import forge from 'node-forge';
  export default forge.asn1;
}
