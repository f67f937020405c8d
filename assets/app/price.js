// The price that somebody agrees to. It binds: the box takes no more for a batch than it is told with it.
import { sol } from "./format.js";

const MARGIN = 0.01;

/** The most that may be taken where so many lamports are expected: null where nothing is, for there is no bound of 0. */
export const mostFor = (expected) => (expected > 0 ? Math.ceil(expected * (1 + MARGIN)) : null);

/** "at most 0.0595 SOL (1 % more, for fees that rise meanwhile)" */
export const atMost = (expected) => `at most ${sol(Array.isArray(expected) ? expected.reduce((all, one) => all + (mostFor(one) ?? 0), 0) : mostFor(expected) ?? 0)} (${100 * MARGIN} % more, for fees that rise meanwhile)`;
