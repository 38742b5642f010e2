/**
 * Signatures by the scheme of Standard Webhooks, verified with WebCrypto, so that it runs on Node, Deno, Bun and at the
 * edge.
 */

const HMAC = { name: 'HMAC', hash: 'SHA-256' } as const;

/** Reads secrets, each `whsec_` and 24 to 64 bytes in base64. */
export class Secrets {
  readonly #bytes: readonly Uint8Array<ArrayBuffer>[];
  #keys: Promise<CryptoKey[]> | undefined;

  /** Throws a TypeError when one is malformed; the message does not have it. */
  constructor(secrets: readonly string[]) {
    this.#bytes = secrets.map((secret, n) => {
      const bytes = typeof secret === 'string' && secret.startsWith('whsec_') ? fromBase64(secret.slice(6)) : undefined;
      if (bytes === undefined || bytes.length < 24 || bytes.length > 64) {
        const which = secrets.length === 1 ? 'the secret' : `secret ${n + 1}`;
        throw new TypeError(`${which} is malformed: it must be "whsec_" and 24 to 64 bytes in base64`);
      }
      return bytes;
    });
    if (secrets.length === 0) throw new TypeError('no secret is given');
  }

  /** Whether a request may be signed, before its body is read: the headers are there, and its time is within the tolerance. */
  mayBeSigned(headers: Headers, tolerance: number): boolean {
    return readStamp(headers, tolerance) !== undefined;
  }

  /**
   * Whether one of the secrets signed this request, not longer than `tolerance` seconds ago. `body` is the bytes that
   * came. Comparing takes the same time wherever signatures differ.
   */
  async signed(headers: Headers, body: Uint8Array, tolerance: number): Promise<boolean> {
    const stamp = readStamp(headers, tolerance);
    if (stamp === undefined) return false;
    const { id, timestamp, signatures } = stamp;
    const head = new TextEncoder().encode(`${id}.${timestamp}.`);
    const content = new Uint8Array(head.length + body.length);
    content.set(head);
    content.set(body, head.length);
    this.#keys ??= Promise.all(
      this.#bytes.map((bytes) => crypto.subtle.importKey('raw', bytes, HMAC, false, ['verify'])),
    );
    const keys = await this.#keys;
    // Several signatures while a secret is being replaced; more than a few are an attack on our time.
    for (const one of signatures.split(' ', 8)) {
      const [version, text = ''] = one.split(',');
      const signature = version === 'v1' ? fromBase64(text) : undefined;
      if (signature === undefined) continue;
      for (const key of keys) {
        if (await crypto.subtle.verify(HMAC, key, signature, content)) return true;
      }
    }
    return false;
  }
}

/** What the headers say of a signature, unless it is missing or out of time. */
function readStamp(headers: Headers, tolerance: number): { id: string; timestamp: string; signatures: string } | undefined {
  const [id, timestamp, signatures] = ['id', 'timestamp', 'signature'].map((name) => headers.get(`webhook-${name}`));
  if (!id || !signatures || !timestamp || !/^\d{1,12}$/.test(timestamp)) return undefined;
  return Math.abs(Date.now() / 1_000 - Number(timestamp)) > tolerance ? undefined : { id, timestamp, signatures };
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
