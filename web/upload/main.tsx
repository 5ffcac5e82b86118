import './style.css'
import { render } from 'preact'

render(<p>…</p>, document.createElement('div'))
