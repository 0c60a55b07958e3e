// A provider's picture. Our own are initials on a colour, which are drawn here: an image for each
// would be a request for each.

import { apiBase } from './api.js';

// As keystow/pages/monogram.py has them, so that a provider has one colour everywhere.
const COLOURS = ['#1f5fbf', '#0a6b4d', '#8a3ffc', '#b3261e', '#8a5a00', '#00677d', '#a1206b'];

/** The colour of a provider, by its key. */
export function colourOf(provider) {
  return COLOURS[crc32(new TextEncoder().encode(provider)) % COLOURS.length];
}

/** CRC-32 (RFC 1952, section 8). */
function crc32(bytes) {
  let rest = 0xffffffff;
  for (const byte of bytes) {
    rest ^= byte;
    for (let bit = 0; bit < 8; bit += 1) rest = (rest >>> 1) ^ (rest & 1 ? 0xedb88320 : 0);
  }
  return ~rest >>> 0;
}

/** The first letters of a name's first two words. */
export function initialsOf(name) {
  return (name.match(/[\p{L}\p{N}]+/gu) || []).slice(0, 2)
    .map((word) => [...word][0]).join('').toUpperCase();
}

/** Return the address of an integration's own logo on our origin, or '' where ours is drawn. */
export function ownLogo({ logo }) {
  try {
    const url = new URL(logo || `${apiBase}ui/logos/`, apiBase);
    const ours = url.pathname.startsWith(`${apiBase.pathname}ui/logos/`);
    return url.origin === apiBase.origin && !ours ? url.href : '';
  } catch {
    return '';
  }
}
