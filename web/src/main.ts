import { mount } from 'svelte'
import '@fontsource-variable/instrument-sans'
import '@fontsource-variable/jetbrains-mono'
import '@fontsource-variable/newsreader'
import './app.css'
import '$lib/ui/menu.css'
import App from './App.svelte'

mount(App, { target: document.getElementById('app')! })
