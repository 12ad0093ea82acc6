export default {
  compilerOptions: { runes: true },
  // Libraries are compiled as they were written.
  vitePlugin: { dynamicCompileOptions: ({ filename }) => (filename.includes('node_modules') ? { runes: undefined } : undefined) },
}
