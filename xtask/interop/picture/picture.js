// Opens pages of the simulator in headless Chromium and looks at them as a person would.
// Arguments: the page of a real run that fails, the page of the run made by hand, a folder for screenshots.
const fs = require('fs')
const path = require('path')
const { chromium } = require('playwright-core')

const [runFile, handFile, folder] = process.argv.slice(2)
const SIZE = { width: 1280, height: 800 }
let browser

function equal(seen, wanted, what) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(wanted)]
  if (a !== b) throw new Error(`${what}: seen ${a}, expected ${b}`)
}
function holds(truth, what) { if (!truth) throw new Error(what) }

// A page that is opened, with whatever it complained of or asked for.
async function open(file, colorScheme = 'light') {
  const page = await browser.newPage({ viewport: SIZE, colorScheme })
  const told = []
  page.on('console', (message) => { if (message.type() === 'error') told.push(message.text()) })
  page.on('pageerror', (error) => told.push(String(error)))
  page.on('dialog', (dialog) => { told.push(`dialog: ${dialog.message()}`); dialog.dismiss() })
  page.on('request', (request) => {
    if (!request.url().startsWith('file:')) told.push(`asked for ${request.url()}`)
  })
  await page.goto(`file://${path.resolve(file)}`)
  await settled(page)
  return { page, told }
}

// Everything that was asked for is drawn.
const settled = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))

async function photo(page, name) {
  await settled(page)
  await page.screenshot({ path: path.join(folder, `${name}.png`) })
}

async function seek(page, text) {
  await page.fill('#search', text)
  await page.press('#search', 'Enter')
  await page.locator('#lanes').focus()
  await settled(page)
}

const words = (page) => page.locator('.step strong').allTextContents()
const picked = (page) => page.evaluate(() => state.mark)
const stretch = (page) => page.evaluate(() => [state.from, state.to])

const checks = {
  async a_page_of_a_run_opens_with_its_lanes_and_without_an_error() {
    const { page, told } = await open(runFile)
    const names = await page.locator('.lane b').allTextContents()
    for (const name of ['world', 'broker', 'orders-0', 'orders-1', 'producer1', 'consumer1', 'member1', 'readers', 'members']) {
      holds(names.includes(name), `no lane ${name} among ${names}`)
    }
    equal(await page.textContent('#result'), 'FAILED', 'the verdict')
    await photo(page, 'run')
    equal(told, [], 'what the page complained of')
  },

  async what_lasts_is_told_processes_faults_leadership_and_what_members_hold() {
    const { page } = await open(runFile)
    const spans = await page.evaluate(() => [...new Set(run.spans.map((span) => run.spanKinds[span[3]]))].sort())
    equal(spans, ['down', 'fault', 'holding', 'leading', 'recovering', 'starting', 'up'], 'kinds of spans')
    const leads = await page.evaluate(() => run.spans.filter((span) => run.spanKinds[span[3]] === 'leading' && run.lanes[span[0]].name === 'orders-0').map((span) => span[4]))
    holds(leads.length > 2 && leads[0] === 'leader, epoch 0', `leadership of orders-0: ${leads}`)
  },

  async a_record_that_is_searched_shows_its_whole_life() {
    const { page, told } = await open(handFile)
    await seek(page, 'p1#0')
    equal(await words(page), ['sent', 'written', 'synced', 'acknowledged', 'read', 'committed', 'in the log'], 'the life')
    await seek(page, 'p1#1@t-0')
    equal(await words(page), ['sent', 'written', 'acknowledged', 'lost', 'MISSING'], 'the life of the lost one')
    await photo(page, 'lost')
    equal(told, [], 'what the page complained of')
  },

  async a_record_of_a_real_run_is_followed_through_each_step() {
    const { page } = await open(runFile)
    await seek(page, 'p1001#5@orders-0')
    const life = await words(page)
    for (const step of ['sent', 'written', 'synced', 'acknowledged', 'read', 'committed', 'in the log', 'still there']) {
      holds(life.includes(step), `no "${step}" in ${life}`)
    }
    await photo(page, 'life')
    await page.keyboard.press(']')
    await page.keyboard.press(']')
    equal(await page.locator('.step.current strong').textContent(), life[1], 'the second step')
  },

  async a_mark_that_is_clicked_shows_its_event_and_its_record() {
    const { page } = await open(runFile)
    await seek(page, 'p1001#5@orders-0')
    const mark = await page.evaluate(() => lifeOf(state.record).find((step) => step.word === 'acknowledged').mark)
    await page.keyboard.press('Escape')
    equal(await words(page), [], 'the life after letting go')
    const place = await page.evaluate((mark) => {
      show(marks.at[mark] - 1e5, marks.at[mark] + 1e5); drawLanes()
      const { x, y } = placesOf(mark)[0]; const box = canvas.getBoundingClientRect()
      return { x: x + box.left, y: y + box.top }
    }, mark)
    await page.mouse.move(place.x, place.y)
    holds(await page.locator('#tip').isVisible(), 'no words beside the pointer')
    await page.mouse.click(place.x, place.y)
    const same = await page.evaluate((mark) => marks.at[mark] === marks.at[state.mark], mark)
    holds(same, 'another mark was picked')
    holds((await page.textContent('#detail')).includes('acknowledged p1001#'), 'the event is not told')
    holds((await words(page)).includes('sent'), 'the record is not followed')
    await photo(page, 'clicked')
  },

  async n_jumps_to_the_violation_and_tells_what_was_promised_and_seen() {
    const { page, told } = await open(handFile)
    await page.locator('#lanes').focus()
    await page.keyboard.press('n')
    await settled(page)
    const card = await page.locator('.violation.current').textContent()
    holds(card.includes('lost write') && card.includes('Promised: A record acknowledged with acks=all'), card)
    holds(card.includes('Seen: p1#1 was acknowledged in t-0 at 1; the log has nothing there'), card)
    const [from, to] = await stretch(page)
    const at = await page.evaluate(() => marks.at[run.violations[0].seenAt])
    holds(from <= at && at <= to, 'the violation is out of sight')
    equal(await picked(page), await page.evaluate(() => run.violations[0].seenAt), 'what is picked')
    holds((await words(page)).includes('MISSING'), 'the record is not followed')
    await photo(page, 'violation')
    await page.keyboard.press('n')
    await page.keyboard.press('p')
    equal(await page.evaluate(() => state.violation), 0, 'the violation after next and previous')
    equal(told, [], 'what the page complained of')
  },

  async keys_zoom_move_filter_and_fold() {
    const { page } = await open(runFile)
    await page.locator('#lanes').focus()
    const whole = await stretch(page)
    for (const key of ['+', '+', 'ArrowRight']) await page.keyboard.press(key)
    const near = await stretch(page)
    holds(Math.abs((near[1] - near[0]) * 4 / (whole[1] - whole[0]) - 1) < 0.01, `zoomed to ${near}`)
    await page.keyboard.press('-')
    await page.keyboard.press('0')
    equal(await stretch(page), whole, 'the whole run')
    const shown = () => page.evaluate(() => lanes.reduce((sum, lane) => sum + lane.rows.reduce((all, row) => all + row.marks.length, 0), 0))
    const all = await shown()
    await page.keyboard.press('f')
    await page.keyboard.type('gave up')
    holds(await shown() < all / 10, 'the filter lets everything through')
    await page.fill('#filter', '')
    equal(await shown(), all, 'without the filter')
    const count = await page.locator('.lane').count()
    await page.click('.heading.folded')
    await settled(page)
    holds(await page.locator('.lane').count() > count, 'the internal partitions stay folded')
  },

  async a_name_that_would_break_out_of_the_page_is_only_a_name() {
    const { page, told } = await open(handFile)
    const names = await page.locator('.lane b').allTextContents()
    holds(names.includes('consumer1</script><script>alert(1)</script>'), `${names}`)
    equal(told, [], 'what the page complained of')
  },

  async it_is_readable_in_the_dark() {
    const { page, told } = await open(runFile, 'dark')
    await seek(page, 'p1001#5@orders-0')
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    equal(ground, 'rgb(21, 24, 29)', 'the ground')
    await photo(page, 'dark')
    equal(told, [], 'what the page complained of')
  },

  async two_hundred_thousand_events_are_drawn_in_no_time() {
    const text = fs.readFileSync(runFile, 'utf8')
    const [before, rest] = text.split('<script type="application/json" id="run">')
    const end = rest.indexOf('</script>')
    const data = JSON.parse(rest.slice(0, end))
    const { marks } = data
    const once = marks.at.length
    for (let round = 1; marks.at.length < 200000; round++) {
      for (let at = 0; at < once; at++) {
        marks.at.push(marks.at[at] + round * data.end)
        for (const column of ['kind', 'node', 'lanes', 'text']) marks[column].push(marks[column][at])
      }
    }
    data.end = marks.at.at(-1)
    const file = path.join(folder, 'large.html')
    fs.writeFileSync(file, `${before}<script type="application/json" id="run">${JSON.stringify(data).replaceAll('<', '\\u003c')}${rest.slice(end)}`)
    const { page, told } = await open(file)
    // The best of some frames: what else the machine does is no fault of the page.
    const spent = await page.evaluate(() => Math.min(...Array.from({ length: 8 }, () => {
      const begun = performance.now(); drawLanes(); drawMap(); return performance.now() - begun
    })))
    holds(spent < 60, `a frame of ${marks.at.length} events takes ${spent} ms`)
    equal(told, [], 'what the page complained of')
  },
}

async function main() {
  fs.mkdirSync(folder, { recursive: true })
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox'] })
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check()
      console.log(`ok ${name}`)
    } catch (error) {
      console.log(`FAILED ${name}: ${String(error).split('\n')[0]}`)
    }
  }
  await browser.close()
}
main()
