const paths = {
  pictures:
    'M7 5h11a2 2 0 0 1 2 2v9M5.5 8h9a1.5 1.5 0 0 1 1.5 1.5v8A1.5 1.5 0 0 1 14.5 19h-9A1.5 1.5 0 0 1 4 17.5v-8A1.5 1.5 0 0 1 5.5 8Zm-1 9 3-3 2 2 2.5-3L16 17M7.5 11v.01',
  picture:
    'M5.5 5h13A1.5 1.5 0 0 1 20 6.5v11a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 4 17.5v-11A1.5 1.5 0 0 1 5.5 5ZM4 16l4-4 3 3 4-5 5 6M9 9v.01',
  camera: 'M4 8.5h3.5L9 6h6l1.5 2.5H20V18H4V8.5Zm8 1.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6Z',
  folder: 'M4 7a1 1 0 0 1 1-1h4l2 2.5h8a1 1 0 0 1 1 1V17a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V7Z',
  place:
    'M12 21s6.5-5.8 6.5-11a6.5 6.5 0 0 0-13 0C5.5 15.200 12 21 12 21Zm0-8.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z',
  plus: 'M12 6v12M6 12h12',
  check: 'm5 12.5 4.5 4.5L19 7.5',
  cross: 'm7 7 10 10M17 7 7 17',
  pause: 'M9 6v12M15 6v12',
  play: 'M8 5.5v13l10-6.5-10-6.5Z',
  offline: 'M4 4l16 16M5 12a10 10 0 0 1 4-2.4m6 .4a10 10 0 0 1 4 2M8.5 15.5a5 5 0 0 1 7 0M12 19v.01',
}

/** A decorative drawing beside a text. */
export const Icon = ({ name, class: className = '' }: { name: keyof typeof paths; class?: string }) => (
  <svg class={`icon ${className}`} viewBox="0 0 24 24" aria-hidden="true">
    <path d={paths[name]} />
  </svg>
)
