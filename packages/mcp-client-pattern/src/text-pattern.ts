/** Tests text against a pattern: an expression found in it, or text that is all of it with `*` for anything. */
export function matcher(pattern: string | RegExp): (text: string) => boolean {
  if (typeof pattern !== 'string') return (text) => text.search(pattern) >= 0;
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const whole = new RegExp(`^${parts.join('.*')}$`, 's');
  return (text) => whole.test(text);
}
