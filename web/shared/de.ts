import type { en } from './en.ts'

export const de: typeof en = {
  LinkNotFound: {
    title: 'Diesen Link gibt es nicht',
    detail:
      'Vielleicht fehlt ein Teil davon. Bitten Sie die Person, von der Sie ihn haben, ihn noch einmal zu senden.',
  },
  LinkExpired: {
    title: 'Dieser Link ist abgelaufen',
    detail:
      'Er nimmt keine Bilder mehr an. Bitten Sie die Person, von der Sie ihn haben, um einen neuen Link.',
  },
  LinkRevoked: {
    title: 'Dieser Link wurde geschlossen',
    detail:
      'Er nimmt keine Bilder mehr an. Bitten Sie die Person, von der Sie ihn haben, um einen neuen Link.',
  },
  LinkUsedUp: {
    title: 'Dieser Link ist voll',
    detail:
      'Er hat alle Bilder erhalten, die er annehmen kann. Bitten Sie die Person, von der Sie ihn haben, um einen neuen Link.',
  },
  LinkNotOpen: {
    title: 'Dieser Link ist noch nicht offen',
    detail: 'Er nimmt später Bilder an. Fragen Sie im Zweifel die Person, von der Sie ihn haben.',
    opensOn: 'Er öffnet am {date}.',
  },
  TooManyFailedLookups: {
    title: 'Zu viele Versuche',
    detail: 'Warten Sie eine Minute und versuchen Sie es noch einmal.',
  },
  Unavailable: {
    title: 'Der Dienst ist nicht erreichbar',
    detail:
      'Versuchen Sie es in ein paar Minuten noch einmal. Was Sie schon gesendet haben, ist nicht verloren.',
  },
  NotFound: {
    title: 'Hier ist keine Seite',
    detail: 'Wenn Sie um Bilder gebeten wurden, öffnen Sie den Link, den Sie erhalten haben.',
  },
  Home: {
    title: 'Hasty sammelt Bilder',
    detail: 'Wenn Sie um Bilder gebeten wurden, öffnen Sie den Link, den Sie erhalten haben.',
  },
  Other: {
    title: 'Das hat nicht funktioniert',
    detail:
      'Versuchen Sie es noch einmal. Wenn es weiterhin nicht geht, fragen Sie die Person, von der Sie den Link haben.',
  },
}
