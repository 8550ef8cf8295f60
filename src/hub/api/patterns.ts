/*
 * What the API's texts look like, for the OpenAPI document: so that a form can say what is wrong before anything is sent. They let through whatever
 * the hub takes, and next to nothing else; the hub itself parses.
 */

const PORT = '0*(?:[1-9]\\d{0,3}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])';
const OCTET = '(?:25[0-5]|2[0-4]\\d|1\\d{2}|[1-9]?\\d)';
const IPV4 = `${OCTET}(?:\\.${OCTET}){3}`;
const IPV6 = '[\\dA-Fa-f]*:[\\dA-Fa-f]*:[\\dA-Fa-f:.]*';
/** Not digits and dots alone: that would be an address. */
const NAME = '(?![\\d.]+:)[^\\s:/,@\\[\\]]+';

export const TARGET_PATTERN = `^(?:\\[${IPV6}(?:%[^\\]\\s]+)?\\]|${IPV4}|${NAME})?:${PORT}$`;
export const NETWORK_PATTERN = `^(?:${IPV4}(?:/0*(?:3[0-2]|[12]?\\d))?|${IPV6}(?:/0*(?:12[0-8]|1[01]\\d|[1-9]?\\d))?)$`;
export const RATE_PATTERN = '^\\d{1,12}(?:\\.\\d{1,6})?[KMGkmg]?[Bb][Ii][Tt]$';
