// How the console is built: one HTML file and hashed assets into ../dist, which the Go package
// embeds. `npm run dev` serves the sources and passes API calls on to a running node, by default
// the one at http://127.0.0.1:7310; SURETY_ADDRESS names another.
import { rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vitest/config";

const bundle = fileURLToPath(new URL("../dist/", import.meta.url));
// The node refuses what a page of another origin sends, so its own origin is put in.
const node = process.env.SURETY_ADDRESS ?? "http://127.0.0.1:7310";

// dist/ holds the committed placeholder beside the bundle, so it is cleaned by name.
const clean: Plugin = {
  name: "clean-bundle",
  apply: "build",
  buildStart() {
    for (const made of ["assets", "index.html", "icon.svg"]) {
      rmSync(bundle + made, { recursive: true, force: true });
    }
  },
};

export default defineConfig({
  base: "./",
  plugins: [clean],
  build: {
    outDir: bundle,
    emptyOutDir: false,
    target: "es2022",
    // The policy of the pages refuses inline content, data: URLs included.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      "^/(surety\\.|events)": { target: node, changeOrigin: true, headers: { Origin: node } },
    },
  },
  test: {
    include: ["src/**/*.test.{ts,tsx}"],
    environment: "node",
  },
});
