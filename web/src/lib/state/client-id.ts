/** This document's name for itself: in memory only, so that a duplicated browser tab gets its own. */
export const clientId = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
  byte.toString(16).padStart(2, '0'),
).join('')
