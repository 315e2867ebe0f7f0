import * as React from 'react';

/** The look of a state: its shape says as much as its colour. */
export type Look = 'up' | 'starting' | 'idle' | 'trouble' | 'gone';

const SHAPES: Record<Look, React.ReactElement> = {
  up: <circle cx="8" cy="8" r="6" />,
  starting: (
    <>
      <circle cx="8" cy="8" r="5.2" fill="none" strokeWidth="1.6" stroke="currentColor" />
      <path d="M8 2.8a5.2 5.2 0 0 1 0 10.4z" />
    </>
  ),
  idle: <circle cx="8" cy="8" r="5.2" fill="none" strokeWidth="1.6" stroke="currentColor" />,
  trouble: <path d="M8 1.5 15 14H1z" />,
  gone: <path d="M3.5 3.5l9 9m0-9l-9 9" fill="none" strokeWidth="2.4" stroke="currentColor" strokeLinecap="round" />
};

/** A small sign for a state. It is for the eye only: the state's word stands beside it. */
export function Glyph({ look }: { look: Look }): React.ReactElement {
  return (
    <svg className={`shoal-Glyph shoal-mod-${look}`} viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">
      {SHAPES[look]}
    </svg>
  );
}
