import { Window } from 'happy-dom';
import { act, createElement, type ReactElement, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { afterEach } from 'vitest';
import { MCPClientProvider } from '../../src/react/index.js';
import type { Bench } from '../support.js';

const shown: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const hide of shown.splice(0)) await hide();
});

/** A page that shows something under StrictMode. */
export interface Shown {
  /** The text on the page. */
  text(): string;
  show(element: ReactElement): Promise<void>;
  hide(): Promise<void>;
}

/** Renders into a document of its own. */
export async function show(element: ReactElement): Promise<Shown> {
  const window = new Window();
  Object.assign(globalThis, { window, document: window.document, IS_REACT_ACT_ENVIRONMENT: true });
  const container = window.document.createElement('main');
  const root = createRoot(container as never);
  const render = (next: ReactElement) => act(async () => root.render(createElement(StrictMode, null, next)));
  let isShown = true;
  const hide = async () => {
    if (!isShown) return;
    isShown = false;
    await act(async () => root.unmount());
    await window.happyDOM.close();
  };
  shown.push(hide);
  await render(element);
  return { text: () => container.textContent, show: render, hide };
}

/** Lets something happen, and what React makes of it. */
export async function during(happening: () => unknown): Promise<void> {
  await act(async () => {
    await happening();
  });
}

/** A component inside a provider of the bench's client. */
export const within = ({ client }: Bench, component: () => ReactElement | string) =>
  createElement(MCPClientProvider, { client }, createElement(component));
