// The page of pgflow-live in a real browser: starts runs, watches them go on, reads details, cancels and retries, and is given
// hostile texts. Takes of the environment:
//
//   PGFLOW_LIVE_URL         where pgflow-live serves
//   PGFLOW_LIVE_JWT_SECRET  what it believes tokens signed with
//   PGHOST and so on        the database behind it, as a superuser
//   CHROMIUM                the browser, else /usr/bin/chromium
//   SHOTS                   a folder for screenshots, if they are wanted
//
// Prints a line for each check, and exits with 1 if one fails.

import { execFileSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { chromium } from 'playwright-core'

const url = process.env.PGFLOW_LIVE_URL.replace(/\/$/, '')
const shots = process.env.SHOTS

/** Does SQL as a superuser, and returns what the last statement says. */
function sql(text) {
  const env = { ...process.env, PGOPTIONS: '-c client_min_messages=warning' }
  return execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1'], { input: text, encoding: 'utf8', env }).trim()
}

const literal = (value) => `'${String(value).replaceAll("'", "''")}'`

/** A token of this role and subject, which runs out so many seconds from now. */
function sign(role, sub, seconds = 3600) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const content = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ role, sub, exp: Math.floor(Date.now() / 1000) + seconds })}`
  return `${content}.${createHmac('sha256', process.env.PGFLOW_LIVE_JWT_SECRET).update(content).digest('base64url')}`
}

const HOSTILE = `<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>"'\`\u202Egpj.exe`

sql(`
  create extension if not exists pgflow;
  select pgflow.delete_flow(flow_slug, true) from pgflow.flows where flow_slug like 'page\\_%';
  do $$
  declare one text;
  begin
    foreach one in array array['page_operator', 'page_client'] loop
      if not exists (select from pg_roles where rolname = one) then execute format('create role %I nologin', one); end if;
    end loop;
    -- Who serves the page takes these roles.
    for one in select role_name from pgflow.gateway_roles join pg_roles on rolname = role_name where not rolsuper loop
      execute format('grant page_operator, page_client to %I', one);
    end loop;
  end $$;
  select pgflow.grant_access('page_operator', 'operator'), pgflow.grant_access('page_client', 'client');
  select pgflow.define_flow(${literal(
    JSON.stringify({
      flow_slug: 'page_digest',
      description: HOSTILE,
      steps: [
        { step_slug: 'fetch' },
        { step_slug: 'summarise', deps_slugs: ['fetch'], step_type: 'map' },
        { step_slug: 'approve', deps_slugs: ['summarise'], executor: 'external' },
        { step_slug: 'publish', deps_slugs: ['summarise', 'approve'] },
      ],
    }),
  )});
  select pgflow.set_realtime('page_digest');
  select pgflow.define_flow('{"flow_slug": "page_each", "steps": [{"step_slug": "each", "step_type": "map"}]}');
  select pgflow.define_flow('{"flow_slug": "page_broken", "max_attempts": 2, "steps": [{"step_slug": "break"}, {"step_slug": "after", "deps_slugs": ["break"]}]}');
  select pgflow.define_flow(jsonb_build_object('flow_slug', 'page_large', 'steps', (
    select jsonb_agg(jsonb_build_object('step_slug', 'step_' || n,
                                        'deps_slugs', case when n > 10 then jsonb_build_array('step_' || n - 10) else '[]' end))
    from generate_series(1, 300) n)));
  select pgflow.define_flow('{"flow_slug": "page_parent", "steps": [{"step_slug": "child", "executor": "flow", "target": "page_broken"}]}');
  select pgflow.grant_run('page_digest', 'page_client'), pgflow.grant_run('page_each', 'page_client');
`)

let failed = 0
function verdict(what, isSo, more = '') {
  if (!isSo) failed += 1
  console.log(`${isSo ? 'ok' : 'not so'}: ${what}${!isSo && more ? ` (${more})` : ''}`)
}

/** A check that may wait, and fails when it has waited for too long or throws. */
async function check(what, act) {
  try {
    const said = await act()
    verdict(what, said !== false, typeof said === 'string' ? said : '')
  } catch (error) {
    verdict(what, false, String(error.message).split('\n')[0])
  }
}

/** Claims one task of a queue, and returns it. */
function claim(queue, worker = 'a worker') {
  const found = sql(
    `select to_json(t) from pgflow.claim_step_tasks(${literal(queue)}, 1, worker_id => ${literal(worker)}) t`,
  )
  if (!found) throw new Error(`nothing to claim from ${queue}`)
  return JSON.parse(found)
}

function complete(task, output) {
  sql(`select pgflow.complete_step_task(${literal(task.run_id)}, ${literal(task.step_slug)}, ${literal(JSON.stringify(output))},
       ${task.task_index}, ${task.lease})`)
}

function fail(task, message) {
  sql(`select pgflow.fail_step_task(${literal(task.run_id)}, ${literal(task.step_slug)}, ${literal(message)}, ${task.task_index},
       ${task.lease}, retry_after => 0)`)
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
})

const violations = []
/** A page of its own, with a token. */
async function open(token, address = '/', options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(10_000)
  page.on('console', (message) => {
    // Refused requests are logged by the browser itself; what the page does wrong is another matter.
    if (message.type() === 'error' && !/Failed to load resource|net::ERR/.test(message.text()))
      violations.push(message.text())
  })
  page.on('pageerror', (error) => violations.push(String(error)))
  page.on('dialog', (dialog) => {
    violations.push(`a dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  await page.goto(`${url}/#${token ? `token=${token}` : ''}${address}`)
  return page
}

const statusOf = (page, slug) => page.locator(`tr.step:has(.slug:text-is("${slug}")) .status span`)
const runStatus = (page) => page.locator('.run h1 .status span')
async function says(locator, words) {
  const began = Date.now()
  await locator.filter({ hasText: words }).first().waitFor()
  return Date.now() - began
}
const runOf = (page) => /runs\/([0-9a-f-]{36})/.exec(page.url())?.[1]

async function shoot(page, name) {
  if (!shots) return
  mkdirSync(shots, { recursive: true })
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.waitForTimeout(150)
    await page.screenshot({ path: path.join(shots, `${name}-${colorScheme}.png`) })
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null })
}

try {
  const response = await fetch(`${url}/`)
  const policy = response.headers.get('content-security-policy') ?? ''
  verdict('the page comes with a strict policy', /default-src 'none'/.test(policy) && !/unsafe/.test(policy), policy)

  // Who may see it
  const operator = sign('page_operator', 'olga')
  const client = sign('page_client', 'carl')
  const nobody = await open(null)
  await check('without a token it says so, and asks for one', async () => {
    await nobody.getByRole('button', { name: 'Enter a token' }).first().click()
    await nobody.locator('#token').fill(operator)
    await nobody.getByRole('button', { name: 'Use it' }).click()
    await says(nobody.locator('#who'), 'manages runs')
  })
  await nobody.context().close()
  const late = await open(sign('page_operator', 'olga', -3600))
  await check('a token that has run out is not accepted, in words', async () => {
    await says(late.locator('.list'), 'This token is not accepted')
  })
  await late.context().close()

  const page = await open(operator)
  await check('a token in the address is taken, and is gone from there', async () => {
    await says(page.locator('#who'), 'olga')
    return !page.url().includes('token') && !page.url().includes(operator)
  })

  // Starting one
  await page.getByRole('link', { name: 'Start a run' }).click()
  const choose = async (slug) => {
    await page.locator('#flow').selectOption(slug)
    await page.locator(`.picture img[alt*="${slug}"]`).waitFor()
  }
  await choose('page_each')
  await check('a faulty payload is refused in place', async () => {
    await page.locator('#payload').fill('{"a": ')
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await says(page.locator('.told-here'), 'no JSON')
  })
  await check('what the server refuses is told in place', async () => {
    await page.locator('#payload').fill('{"a": 1}')
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await says(page.locator('.told-here'), 'payload is of type "object" and not an array')
  })
  await check('what was written stays when another flow is chosen', async () => {
    await choose('page_digest')
    return (await page.locator('#payload').inputValue()) === '{"a": 1}'
  })
  await check('a run whose start was not answered is started once', async () => {
    await page
      .locator('#payload')
      .fill(JSON.stringify({ topic: HOSTILE, exact: 'N' }).replace('"N"', '12345678901234567890'))
    await page.locator('#key').fill(HOSTILE)
    await page.route('**/rpc/run_flow', async (route) => {
      await route.fetch()
      await route.abort()
    })
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await says(page.locator('.told-here'), 'No answer came')
    await page.unroute('**/rpc/run_flow')
    await page.getByRole('button', { name: 'Start', exact: true }).click()
    await page.waitForURL(/#\/runs\/[0-9a-f-]{36}/)
    return sql(`select count(*) from pgflow.runs where flow_slug = 'page_digest'`) === '1'
  })
  const run = runOf(page)

  // As it goes on
  await check('the run is shown with all its steps', async () => {
    await says(runStatus(page), 'started')
    await says(statusOf(page, 'fetch'), 'started')
    for (const slug of ['summarise', 'approve', 'publish']) await says(statusOf(page, slug), 'pending')
  })
  await check('long numbers stay as they were written', () =>
    says(page.locator('.value').first(), '12345678901234567890'),
  )
  await check('the picture is there', async () => {
    await page.locator('.picture img').waitFor()
    return page.locator('.picture img').evaluate((image) => image.naturalWidth > 100 && image.src.startsWith('blob:'))
  })
  const picture = await page.locator('.picture img').getAttribute('src')
  await page.evaluate(() => {
    // What the reader sees, change by change.
    window.seen = []
    const look = () => {
      for (const row of document.querySelectorAll('tr.step')) {
        const words = `${row.querySelector('.slug').textContent} ${row.querySelector('.status span').textContent}`
        if (window.seen.findLast((one) => one.split(' ')[0] === words.split(' ')[0]) !== words) window.seen.push(words)
      }
    }
    look()
    new MutationObserver(look).observe(document.querySelector('.pane'), {
      subtree: true,
      childList: true,
      characterData: true,
    })
  })
  const delays = []
  complete(claim('page_digest'), ['vacuum', HOSTILE, 'locks'])
  delays.push(await says(statusOf(page, 'summarise'), 'started'))
  await shoot(page, 'started')
  const first = claim('page_digest', `worker ${HOSTILE}`)
  fail(first, `the network is down ${HOSTILE}`)
  await check('a failed attempt is told of with its error and its worker', async () => {
    await page.locator('tr.step:has(.slug:text-is("summarise")) .open').focus()
    await page.keyboard.press('Enter')
    const details = page.locator('tr.details')
    await says(details.locator('.tries .told'), 'the network is down')
    await says(details.locator('.tries .worker'), 'worker <img')
    await says(details.locator('.value').first(), 'locks')
  })
  for (let n = 0; n < 3; n += 1) complete(claim('page_digest'), { summary: HOSTILE.repeat(n === 2 ? 200 : 1) })
  delays.push(await says(statusOf(page, 'approve'), 'started'))
  sql(`select pgflow.complete_step(${literal(run)}, 'approve', '{"by": "the editor"}')`)
  delays.push(await says(statusOf(page, 'publish'), 'started'))
  complete(claim('page_digest'), { url: 'https://example.com/1' })
  delays.push(await says(runStatus(page), 'completed'))
  await check('every change of every step was seen, in order, without a reload', async () => {
    const seen = await page.evaluate(() => window.seen)
    const of = (slug) =>
      seen
        .filter((one) => one.startsWith(`${slug} `))
        .map((one) => one.split(' ')[1])
        .join(' ')
    const told = ['fetch', 'summarise', 'approve', 'publish'].map(of)
    const isSo = told[0] === 'started completed' && told.slice(1).every((one) => one === 'pending started completed')
    return isSo || told.join(' | ')
  })
  verdict(
    `changes are seen at once (${delays.join(', ')} ms)`,
    delays.every((ms) => ms < 2000),
  )
  await check('the output of the run is shown', () =>
    says(page.locator('.run .look .value').nth(1), 'https://example.com/1'),
  )
  await check('a large output is cut, and the whole is to be had', async () => {
    const output = page.locator('tr.details .value').nth(1)
    const before = await output.locator('pre').textContent()
    await output.getByRole('button', { name: /Whole/ }).click()
    const after = await output.locator('pre').textContent()
    return before.length < 10_000 && after.length > 15_000 && JSON.parse(after).length === 3
  })
  await check('the picture has gone on as well', async () => {
    await page.waitForFunction((before) => document.querySelector('.picture img').src !== before, picture)
    return /4 of 4 steps completed/.test(await page.locator('.picture img').getAttribute('alt'))
  })
  await shoot(page, 'completed')

  // What operators do
  sql(`select pgflow.run_flow('page_broken', '{"n": 1}', key => 'order-17')`)
  await check('the list tells of a run that somebody else has started, and leads to it', async () => {
    await page.locator('.runs a', { hasText: 'order-17' }).click()
    await says(page.locator('.run h1'), 'page_broken')
  })
  const broken = runOf(page)
  await check('cancelling asks first, and tells what became of it', async () => {
    await page.getByRole('button', { name: 'Cancel', exact: true }).click()
    await shoot(page, 'cancel')
    await page.getByRole('button', { name: 'Leave it' }).click()
    await page.getByRole('button', { name: 'Cancel', exact: true }).click()
    await page.locator('#reason').fill(`called off ${HOSTILE}`)
    await page.getByRole('button', { name: 'Cancel the run' }).click()
    await says(page.locator('.answer'), 'The run was cancelled.')
    await says(runStatus(page), 'cancelled')
    await says(page.locator('.failure').first(), 'called off <img')
    return sql(`select status from pgflow.runs where run_id = ${literal(broken)}`) === 'cancelled'
  })
  await check('retrying starts it again', async () => {
    await page.getByRole('button', { name: 'Retry', exact: true }).click()
    await page.getByRole('button', { name: 'Retry the run' }).click()
    await says(runStatus(page), 'started')
    await says(statusOf(page, 'break'), 'started')
  })
  await check('a step that fails is told of, with the error of each attempt', async () => {
    fail(claim('page_broken'), 'first try\n  at line 1')
    fail(claim('page_broken'), `last try ${HOSTILE}`)
    await says(runStatus(page), 'failed')
    await says(statusOf(page, 'break'), 'failed')
    await says(statusOf(page, 'after'), 'cancelled')
    await page.locator('tr.step:has(.slug:text-is("break"))').click()
    await says(page.locator('tr.details .told').nth(0), 'first try')
    await says(page.locator('tr.details .told').nth(1), 'last try')
    await says(page.locator('#announcer'), 'failed')
  })
  await shoot(page, 'failed')
  await check('a retry that came too late says why it was refused', async () => {
    await page.getByRole('button', { name: 'Retry', exact: true }).click()
    sql(`select pgflow.retry_run(${literal(broken)})`)
    await page.getByRole('button', { name: 'Retry the run' }).click()
    await says(page.locator('dialog[open] .told'), 'run is neither failed nor cancelled')
    await page.keyboard.press('Escape')
  })

  // Families
  const parent = sql(`select pgflow.run_flow('page_parent')`)
  sql('select pgflow.run_upkeep()')
  await page.goto(`${url}/#/runs/${parent}`)
  await check('a parent leads to its child, and the child to its parent', async () => {
    await page.locator('.children a', { hasText: 'page_broken' }).click()
    await says(page.locator('.run h1'), 'page_broken')
    await page.getByRole('link', { name: `step child of ${parent}` }).click()
    await says(page.locator('.run h1'), 'page_parent')
  })

  // What clients see
  const brief = await open(sign('page_operator', 'olga', 5), `/runs/${run}`)
  await check('when the token runs out, it says so and leaves the run where it is', async () => {
    await says(brief.locator('.run .refusal'), 'the token has run out')
    await says(runStatus(brief), 'completed')
    await brief.locator('.run .refusal').getByRole('button', { name: 'Enter a token' }).click()
    await brief.locator('#token').fill(operator)
    await brief.keyboard.press('Enter')
    await says(runStatus(brief), 'completed')
    await brief.locator('.refusal').first().waitFor({ state: 'detached' })
  })
  await brief.context().close()
  const visitor = await open(client, `/runs/${run}`)
  await check('without runs it says what to do', () => says(visitor.locator('.empty'), 'Start one'))
  await check('a client does not see a run of somebody else', () =>
    says(visitor.locator('.pane .refusal'), 'No such run'),
  )
  await visitor.goto(`${url}/#/start/page_digest`)
  await visitor.getByRole('button', { name: 'Start', exact: true }).click()
  await visitor.waitForURL(/#\/runs\//)
  await check('a client sees its own run, and is offered neither cancel nor retry', async () => {
    await says(runStatus(visitor), 'started')
    await says(visitor.locator('#who'), 'carl')
    await visitor.waitForTimeout(500)
    return (await visitor.locator('.actions button').count()) === 0
  })
  await visitor.context().close()

  // The list
  sql(`select count(*) from pgflow.run_flows('page_each', array_fill('[]'::jsonb, array[60]))`)
  await check('the list is filtered by flow and status', async () => {
    await page.locator('.filters select').nth(0).selectOption('page_digest')
    await page.locator('.filters select').nth(1).selectOption('completed')
    await page.waitForFunction(() => document.querySelectorAll('.runs li').length === 1)
    return page.url().includes(parent)
  })
  await check('older runs are a page away, and back', async () => {
    await page.locator('.filters select').nth(1).selectOption('')
    await page.locator('.filters select').nth(0).selectOption('page_each')
    await page.waitForFunction(() => document.querySelectorAll('.runs li').length === 50)
    await page.getByRole('link', { name: 'Older →' }).click()
    await page.waitForFunction(() => document.querySelectorAll('.runs li').length === 10)
    await page.getByRole('link', { name: '← Newest' }).click()
    await page.waitForFunction(() => document.querySelectorAll('.runs li').length === 50)
  })

  // When the server is away
  await check('a lost connection is told of, and mended', async () => {
    await page.route('**/runs?**', (route) => route.abort())
    await says(page.locator('#lost'), 'Reconnecting')
    await page.unroute('**/runs?**')
    await page.getByRole('button', { name: 'Try now' }).click()
    await page.locator('#lost').waitFor({ state: 'hidden' })
  })

  // Large runs
  const large = sql(`select pgflow.run_flow('page_large')`)
  sql(
    `select pgflow.complete_step_task(run_id, step_slug, '{"n": 1}', task_index, lease) from pgflow.claim_step_tasks('page_large', 10)`,
  )
  await check('a run of 300 steps is there in two seconds, and its steps are found', async () => {
    const began = Date.now()
    await page.goto(`${url}/#/runs/${large}`)
    await page.waitForFunction(() => document.querySelectorAll('tr.step').length === 300)
    const took = Date.now() - began
    await page.getByPlaceholder('Find a step').fill('step_29')
    await page.waitForFunction(() => document.querySelectorAll('tr.step').length === 11)
    await page.getByPlaceholder('Find a step').fill('')
    await page.locator('.chip', { hasText: 'completed' }).click()
    await page.waitForFunction(() => document.querySelectorAll('tr.step').length === 10)
    await page.locator('.chip', { hasText: 'completed' }).click()
    return took < 2000 || `${took} ms`
  })
  await shoot(page, 'large')

  // A small screen
  const phone = await open(operator, `/runs/${run}`, {
    viewport: { width: 360, height: 740 },
    isMobile: true,
    hasTouch: true,
  })
  await check('nothing is wider than a phone', async () => {
    await says(runStatus(phone), 'completed')
    await phone.locator('tr.step .open').nth(1).click()
    await phone.locator('tr.details .tries').waitFor()
    return phone.evaluate(
      () =>
        document.documentElement.scrollWidth <= window.innerWidth || `${document.documentElement.scrollWidth} pixels`,
    )
  })
  await shoot(phone, 'phone')
  await phone.goto(`${url}/#/`)
  await check('the list is there on a phone', () => phone.locator('.runs li').first().waitFor())
  await shoot(phone, 'phone-list')
  await phone.context().close()

  // Hostile texts have been everywhere by now; also in the address.
  await page.goto(`${url}/#/runs/${encodeURIComponent(HOSTILE)}`)
  await check('an address that is none is harmless', () => says(page.locator('.pane .refusal'), 'No such run'))
  await check('hostile texts did nothing', async () => {
    const hacked = await page.evaluate(
      () => window.hacked ?? document.querySelectorAll('img[src="x"], script:not([src])').length,
    )
    return hacked === 0
  })
  verdict('nothing went wrong in the page, and the policy was kept', violations.length === 0, violations.join(' | '))
} catch (error) {
  verdict(
    'the checks ran to their end',
    false,
    String(error.stack ?? error)
      .split('\n')
      .slice(0, 3)
      .join(' '),
  )
} finally {
  await browser.close()
}
process.exit(failed ? 1 : 0)
