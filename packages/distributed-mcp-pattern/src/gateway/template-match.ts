/**
 * Whether a URI may be of a template (RFC 6570): the template's fixed text occurs in it, in order, and no
 * plain `{name}` spans segments. Tells where to ask first; the service itself decides.
 *
 * No regular expression is made of the template: with a template from one side and a URI from the other,
 * matching it could take for ever.
 */
export function mayMatch(template: string, uri: string): boolean {
  const parts = template.split(/\{([^{}]*)\}/);
  const first = parts[0] as string;
  const last = parts[parts.length - 1] as string;
  if (parts.length === 1) return uri === template;
  const end = uri.length - last.length;
  if (first.length > end || !uri.startsWith(first) || !uri.endsWith(last)) return false;
  let from = first.length;
  let plain = true;
  for (let index = 1; index < parts.length; index += 2) {
    const literal = parts[index + 1] as string;
    const to = index === parts.length - 2 ? end : uri.indexOf(literal, from);
    if (to < from || to > end) return false;
    // After one that may hold slashes, the shortest reading need not be the right one.
    plain &&= /^\w/.test(parts[index] as string);
    if (plain && uri.slice(from, to).includes('/')) return false;
    from = to + literal.length;
  }
  return true;
}
