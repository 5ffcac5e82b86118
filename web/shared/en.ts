/** The texts of the pages that show an error. Each has a title, and a sentence that says what to do. */
export const en = {
  LinkNotFound: {
    title: 'This link does not exist',
    detail: 'Perhaps a part of it is missing. Ask the person who sent it to you to send it again.',
  },
  LinkExpired: {
    title: 'This link has expired',
    detail: 'It does not accept pictures any more. Ask the person who sent it to you for a new link.',
  },
  LinkRevoked: {
    title: 'This link was closed',
    detail: 'It does not accept pictures any more. Ask the person who sent it to you for a new link.',
  },
  LinkUsedUp: {
    title: 'This link is full',
    detail:
      'It has received all the pictures that it can take. Ask the person who sent it to you for a new link.',
  },
  LinkNotOpen: {
    title: 'This link is not open yet',
    detail: 'It accepts pictures later. If you are not sure when, ask the person who sent it to you.',
    opensOn: 'It opens on {date}.',
  },
  TooManyFailedLookups: {
    title: 'Too many attempts',
    detail: 'Wait a minute, and try again.',
  },
  Unavailable: {
    title: 'The service is not available',
    detail: 'Try again in a few minutes. Nothing that you have sent is lost.',
  },
  NotFound: {
    title: 'There is no page here',
    detail: 'If somebody asked you for pictures, open the link that they sent to you.',
  },
  Home: {
    title: 'Hasty collects pictures',
    detail: 'If somebody asked you for pictures, open the link that they sent to you.',
  },
  Other: {
    title: 'This did not work',
    detail: 'Try again. If it still does not work, ask the person who sent you the link.',
  },
}
