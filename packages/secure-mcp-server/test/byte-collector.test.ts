import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteCollector } from '../src/byte-collector.js';

it('puts pieces together and keeps none of them', () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 20 }), { maxLength: 3 }), (wholes) => {
      const collector = new ByteCollector();
      for (const pieces of wholes) {
        const expected = Buffer.concat(pieces);
        for (const piece of pieces) {
          const own = Buffer.from(piece);
          collector.append(own);
          own.fill(0xaa);
        }
        expect(collector.length).toBe(expected.length);
        expect(collector.take().equals(expected)).toBe(true);
        expect(collector.length).toBe(0);
      }
    }),
  );
});
