/** The search for the highest rate without loss, against models whose threshold is known. */
import t from 'tap'
import { type SearchOptions, searchRate, type Trial } from '../../src/pktgen/rate-search.js'
import { seededPrng } from '../support/seed.js'

const OPTIONS: SearchOptions = {
  lowest: 1_000,
  highest: 10_000_000,
  resolution: 0.01,
  lossTolerance: 0,
  attempts: 1,
}

/** Loses what is above the threshold; sends no faster than its limit. */
const model =
  (threshold: number, senderLimit = Number.POSITIVE_INFINITY) =>
  async (rate: number): Promise<Trial> => {
    const offered = Math.min(rate, senderLimit)
    const sent = Math.ceil(offered)
    return { offered, sent, lost: Math.max(0, sent - Math.floor(threshold)) }
  }

t.test('the threshold is found within the resolution, from below', async (t) => {
  const prng = seededPrng(t)
  for (let round = 0; round < 300; round++) {
    const threshold = 2_000 + prng.below(9_000_000)
    const { rate, trials, isSenderLimited } = await searchRate(model(threshold), OPTIONS)
    t.ok(rate <= threshold && rate >= threshold * 0.98 - 1, `${rate} of ${threshold}`)
    t.ok(trials.length < 40)
    t.notOk(isSenderLimited)
  }
})

t.test('without loss at the highest rate one trial is enough', async (t) => {
  const { rate, trials } = await searchRate(model(1e9), OPTIONS)
  t.equal(rate, OPTIONS.highest)
  t.equal(trials.length, 1)
})

t.test('a sender at its own limit ends the search and is told of', async (t) => {
  const result = await searchRate(model(1e9, 3_000_000), OPTIONS)
  t.match(result, { rate: 3_000_000, isSenderLimited: true })
  const lossy = await searchRate(model(2_000_000, 3_000_000), OPTIONS)
  t.ok(lossy.rate <= 2_000_000 && lossy.rate > 1_950_000)
  t.notOk(lossy.isSenderLimited)
})

t.test('loss at every rate is no rate', async (t) => {
  const all = async (rate: number): Promise<Trial> => ({ offered: rate, sent: 1000, lost: 1000 })
  t.match(await searchRate(all, OPTIONS), { rate: 0, best: undefined })
  const silent = async (): Promise<Trial> => ({ offered: 0, sent: 0, lost: 0 })
  t.match(await searchRate(silent, OPTIONS), { rate: 0, best: undefined }, 'nor is nothing sent')
})

t.test('a tolerance allows so much loss and no more', async (t) => {
  const options = { ...OPTIONS, lossTolerance: 0.001 }
  const one = async (rate: number): Promise<Trial> => ({
    offered: rate,
    sent: 10_000,
    lost: rate > 5e6 ? 11 : 10,
  })
  const { rate } = await searchRate(one, options)
  t.ok(rate > 4.9e6 && rate <= 5e6, `${rate}`)
})

t.test('a hiccup does not refuse a rate that has more than one attempt', async (t) => {
  const prng = seededPrng(t)
  const honest = model(4_000_000)
  const hiccups = async (rate: number): Promise<Trial> => {
    const trial = await honest(rate)
    return prng.below(10) === 0 ? { ...trial, lost: trial.lost + 7 } : trial
  }
  const { rate } = await searchRate(hiccups, { ...OPTIONS, attempts: 8 })
  t.ok(rate > 3_900_000 && rate <= 4_000_000, `${rate}`)
})
