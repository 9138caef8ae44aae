/**
 * The address as one caller has it: an IPv4 address, or the /64 network of an IPv6 address, which is what
 * one site is given and may choose freely in (RFC 6177). IPv4-mapped IPv6 addresses are IPv4. Text that is
 * no address is its own network.
 */
export function networkOf(address: string): string {
  const groups = ipv6Groups(address);
  if (groups === undefined) return address;
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    const [high = 0, low = 0] = groups.slice(6);
    return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
  }
  const network = groups.slice(0, 4).map((group) => group.toString(16));
  return `${network.join(':')}::/64`;
}

/** The eight groups of an IPv6 address; `undefined` for anything else. */
function ipv6Groups(address: string): number[] | undefined {
  const [text = ''] = address.split('%');
  if (!text.includes(':')) return undefined;
  let normal: string;
  try {
    // The URL parser checks the address and writes it in its one canonical form.
    normal = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  } catch {
    return undefined;
  }
  const [head = '', tail] = normal.split('::');
  const left = groupsOf(head);
  const right = groupsOf(tail ?? '');
  return [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}
