// The bundler collects the CSS files that a script imports.
declare module '*.css' {}
