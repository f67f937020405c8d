// The libraries under one roof: `html` makes elements from template strings. What is put into it is always text, never markup.
import { Component, createContext, h, render } from "../vendor/preact.js";
import { useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from "../vendor/preact-hooks.js";
import htm from "../vendor/htm.js";

export const html = htm.bind(h);
export { Component, createContext, render, useCallback, useContext, useEffect, useId, useLayoutEffect, useMemo, useRef, useState };
