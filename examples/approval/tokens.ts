/** JSON Web Tokens, signed with a secret that pgflow-live knows as well (HS256). */
import { createHmac, timingSafeEqual } from 'node:crypto';

export interface Claims {
  /** The role in the database that requests with this token have. */
  role: string;
  /** The user. */
  sub: string;
  /** When it ends, in seconds since 1970. */
  exp: number;
}

export function sign(claims: Claims, secret: string): string {
  const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${body}.${signature(body, secret).toString('base64url')}`;
}

/** What a token says, if it is one of ours and still good. */
export function verify(token: string, secret: string): Claims | undefined {
  const [header, claims, signed, ...more] = token.split('.');
  if (header === undefined || claims === undefined || signed === undefined || more.length > 0) return undefined;
  // Whatever the header says: ours are signed in one way only.
  const expected = signature(`${header}.${claims}`, secret);
  const given = Buffer.from(signed, 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const said = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Claims;
  return said.exp > Date.now() / 1000 ? said : undefined;
}

function signature(body: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(body).digest();
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
