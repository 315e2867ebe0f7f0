// How the lab extension is bundled. JupyterLab's own packages are shared by the page and never resolved here.
const path = require('path');

module.exports = {
  context: path.resolve(__dirname, '..'),
  resolve: { extensions: ['.tsx', '.ts', '.js'] },
  module: {
    rules: [
      {
        test: /\.tsx?$/,
        exclude: /node_modules/,
        loader: 'builtin:swc-loader',
        type: 'javascript/auto',
        options: {
          // The classic runtime: JupyterLab shares React, but not react/jsx-runtime.
          jsc: {
            parser: { syntax: 'typescript', tsx: true },
            transform: { react: { runtime: 'classic' } },
            target: 'es2021'
          }
        }
      }
    ]
  },
  // Named ids make the bundle the same in whatever folder it is built.
  optimization: { moduleIds: 'named', chunkIds: 'named' }
};
