// Who a token is, and what is none.
import { createSign, generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ann, ask, assert, chief, live, secret, serve, sign, start, stream, test, workAll } from './harness.mjs'

const now = () => Math.floor(Date.now() / 1000)

test('a token is who its role and sub say', async () => {
  const { status, body } = await ask('/me', { token: ann() })
  assert.equal(status, 200)
  assert.deepEqual({ ...body, expires_at: 0 }, { role: 'member', manages_runs: false, sub: 'ann', expires_at: 0 })
  assert.equal((await ask('/me', { token: chief() })).body.manages_runs, true)
})

test('a token that is not good is refused with 401', async () => {
  const claims = { role: 'chief', sub: 'x' }
  const parts = sign(claims).split('.')
  const bad = {
    'another secret': sign(claims, 'another secret of more than thirty-two bytes!!'),
    'no signature': `${parts[0]}.${parts[1]}.`,
    'alg none': `${Buffer.from('{"alg":"none"}').toString('base64url')}.${parts[1]}.`,
    'alg None with a signature': sign(claims, secret, { alg: 'None' }),
    'other claims': `${parts[0]}.${Buffer.from('{"role":"postgres"}').toString('base64url')}.${parts[2]}`,
    'run out': sign({ ...claims, exp: now() - 60 }),
    'an end that is no number': sign({ ...claims, exp: 'never' }),
    'an end that is null': sign({ ...claims, exp: null }),
    'not yet': sign({ ...claims, nbf: now() + 60 }),
    'a role that is no name': sign({ ...claims, role: 7 }),
    'an empty role': sign({ ...claims, role: '' }),
    'no role at all': sign({ ...claims, role: 'none' }),
    'the role that logs in': sign({ ...claims, role: 'authenticator' }),
    'an algorithm with a public key': sign(claims, secret, { alg: 'RS256' }),
    'no token': 'x',
    'claims that are no object': `${parts[0]}.${Buffer.from('[]').toString('base64url')}.${parts[2]}`,
  }
  for (const [what, token] of Object.entries(bad)) {
    const { status, body, headers } = await ask('/runs', { token })
    assert.equal(status, 401, `${what}: ${JSON.stringify(body)}`)
    assert.equal(headers.get('www-authenticate'), 'Bearer')
  }
  const { status } = await fetch(`${await live()}/runs`, { headers: { authorization: 'Basic eDp5' } })
  assert.equal(status, 401)
})

test('a token may last for ever', async () => {
  for (const exp of [1e19, 9e15, undefined]) {
    assert.equal((await ask('/runs', { token: sign({ role: 'member', exp }) })).status, 200)
  }
  const run = await start(ann(), 'quiet')
  const watch = await stream(run, sign({ role: 'chief', exp: 1e19 }))
  await workAll('quiet')
  await watch.until('run:completed')
  watch.close()
})

test('a token of a role that the gateway may not take is refused', async () => {
  for (const role of ['stranger', 'postgres', 'nobody_at_all', 'pg_read_all_data']) {
    const { status, body } = await ask('/runs', { token: sign({ role }) })
    assert.ok([400, 403].includes(status), `${role}: ${status} ${JSON.stringify(body)}`)
  }
})

test('nobody who was granted nothing sees or does anything', async () => {
  for (const path of ['/runs', '/flows', '/me', '/rpc/get_run?run_id=0198aaaa-0000-7000-8000-000000000000']) {
    const { status, body } = await ask(path)
    assert.equal(status, 401, `${path}: ${JSON.stringify(body)}`)
    assert.equal(body.code, '42501')
  }
  const { status } = await ask('/rpc/run_flow', { body: { flow_slug: 'chain' } })
  assert.equal(status, 401)
})

test('without a role for them, requests without a token are refused', async () => {
  const { url } = await serve('--jwt-secret', secret)
  assert.equal((await ask('/runs', { base: url })).status, 401)
  assert.equal((await ask('/runs', { base: url, token: ann() })).status, 200)
  // A token without a role is nobody's either.
  assert.equal((await ask('/runs', { base: url, token: sign({ sub: 'x' }) })).status, 401)
})

test('an audience that is asked for must be named', async () => {
  const { url } = await serve('--jwt-secret', secret, '--jwt-audience', 'pages')
  const status = async (aud) => (await ask('/runs', { base: url, token: sign({ role: 'member', aud }) })).status
  assert.equal(await status('pages'), 200)
  assert.equal(await status(['other', 'pages']), 200)
  assert.equal(await status('other'), 401)
  assert.equal(await status(undefined), 401)
})

function rsa(id) {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: id, alg: 'RS256', use: 'sig' }
  const sign = (claims, header = { alg: 'RS256', kid: id }) => {
    const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
    return `${text}.${createSign('sha256').update(text).sign(privateKey).toString('base64url')}`
  }
  return { jwk, sign, pem: publicKey.export({ type: 'spki', format: 'pem' }) }
}

test('keys of a set in a file are for their own kind of signature only', async () => {
  const one = rsa('one')
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const curve = { ...publicKey.export({ format: 'jwk' }), kid: 'two', alg: 'ES256' }
  const shared = { kty: 'oct', kid: 'three', k: Buffer.from(secret).toString('base64url'), alg: 'HS256' }
  const file = join(mkdtempSync(join(tmpdir(), 'keys-')), 'keys.json')
  writeFileSync(file, JSON.stringify({ keys: [one.jwk, curve, shared] }))
  const { url } = await serve('--jwks', file)
  const status = async (token) => (await ask('/runs', { base: url, token })).status
  const claims = { role: 'member', sub: 'ann' }
  assert.equal(await status(one.sign(claims)), 200)
  // The only RSA key of the set needs no name.
  assert.equal(await status(one.sign(claims, { alg: 'RS256' })), 200)
  const text = [{ alg: 'ES256', kid: 'two' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  const signature = createSign('sha256').update(text).sign({ key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')
  assert.equal(await status(`${text}.${signature}`), 200)
  // A public key as a shared secret, and a secret that stands in a set.
  assert.equal(await status(sign(claims, one.pem, { alg: 'HS256', kid: 'one' })), 401)
  assert.equal(await status(sign(claims, secret, { alg: 'HS256', kid: 'three' })), 401)
  assert.equal(await status(rsa('one').sign(claims)), 401)
  assert.equal(await status(rsa('four').sign(claims)), 401)
})

test('unknown keys do not make it ask the publisher of a key set each time', async () => {
  const keys = [rsa('one')]
  let reads = 0
  const publisher = createServer((_, response) => {
    reads += 1
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }))
  })
  await new Promise((resolve) => publisher.listen(0, '127.0.0.1', resolve))
  try {
    const { url } = await serve('--jwks', `http://127.0.0.1:${publisher.address().port}/keys.json`)
    const status = async (key) => (await ask('/runs', { base: url, token: key.sign({ role: 'member' }) })).status
    assert.equal(await status(keys[0]), 200)
    assert.equal(reads, 1)
    const unknown = rsa('unknown')
    for (let i = 0; i < 20; i += 1) assert.equal(await status(unknown), 401)
    assert.ok(reads <= 2, `${reads} reads`)
    assert.equal(await status(keys[0]), 200)
  } finally {
    publisher.close()
  }
})
