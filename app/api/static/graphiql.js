// Slipway's GraphiQL: whose token it uses, what it keeps, and where it sends what is asked.
"use strict";

(() => {
  const TOKEN = "slipway.token"; // the status page's key too; sessionStorage is the tab's alone

  const EXAMPLES = `# Slipway's API. Ctrl-Enter runs what the cursor is in, Ctrl-Space completes.

query Releases {
  releases(first: 10) {
    edges {
      node {
        id
        status
        feature { key }
        currentPhase { name bakeRemaining }
      }
    }
  }
}

subscription Watch {
  releases {
    id
    status
    currentPhase { name }
  }
}
`;

  // --- the token ---

  function takeFromAddress() {
    const found = /[#&]token=([^&]*)/.exec(location.hash);
    if (found === null) return false;
    // In the place of this address, so that neither it nor the history of the tab keeps the token.
    history.replaceState(history.state, "", location.pathname + location.search);
    keep(decoded(found[1]));
    return true;
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a lone % is no code
    }
  }

  function keep(token) {
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
  }

  function headers() {
    const token = sessionStorage.getItem(TOKEN);
    return token ? JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2) : "";
  }

  // --- what GraphiQL keeps ---

  // Tabs and past queries outlive the browser, and GraphiQL would write the headers of each to the disk, the token among
  // them. Here they are left out when written; a past query gets those of today when read.
  const PAST = ["graphiql:queries", "graphiql:favorites"];

  const storage = {
    getItem(key) {
      const text = localStorage.getItem(key);
      return text !== null && PAST.includes(key) ? withHeaders(text, headers()) : text;
    },
    setItem(key, text) {
      if (key !== "graphiql:headers") localStorage.setItem(key, withHeaders(text, null));
    },
    removeItem(key) {
      localStorage.removeItem(key);
    },
    get length() {
      return localStorage.length;
    },
    clear() {
      for (const key of Object.keys(localStorage)) if (key.startsWith("graphiql:")) localStorage.removeItem(key);
    },
  };

  function withHeaders(text, those) {
    try {
      return JSON.stringify(JSON.parse(text, (key, value) => (key === "headers" ? those : value)));
    } catch {
      return text; // a plain word, no JSON
    }
  }

  // --- the page ---

  let root = null;
  let fetcher = null;
  let explorer = null;
  let shown = 0;

  // A new key each time makes it a new one, which asks for the schema again and has the token in its Headers editor.
  function show() {
    const asked = new URLSearchParams(location.search);
    root.render(
      React.createElement(GraphiQL, {
        key: (shown += 1),
        fetcher,
        storage,
        plugins: [explorer],
        query: asked.get("query") ?? undefined,
        variables: asked.get("variables") ?? undefined,
        defaultQuery: EXAMPLES,
        defaultHeaders: headers(),
        defaultEditorToolsVisibility: "headers",
        isHeadersEditorEnabled: true,
        shouldPersistHeaders: false,
        inputValueDeprecation: true,
      }),
    );
    const known = headers() !== "";
    document.getElementById("forget").hidden = !known;
    document.getElementById("said").textContent = known
      ? "The token is in the Headers editor, and kept for this tab only."
      : "No token yet: nothing is answered without one.";
  }

  function start() {
    const place = document.getElementById("graphiql");
    if (typeof GraphiQL === "undefined" || typeof GraphiQLPluginExplorer === "undefined") {
      place.className = "is-missing";
      place.textContent =
        "GraphiQL's files could not be loaded. Without internet, run `slipway graphiql` where the server runs.";
      return;
    }
    localStorage.removeItem("graphiql:headers"); // of another GraphiQL at this address; it would win over ours
    const url = new URL(location.pathname, location.origin);
    const subscriptionUrl = new URL(url);
    subscriptionUrl.protocol = url.protocol === "http:" ? "ws:" : "wss:";
    fetcher = GraphiQL.createFetcher({ url: url.href, subscriptionUrl: subscriptionUrl.href });
    explorer = GraphiQLPluginExplorer.explorerPlugin();
    root = ReactDOM.createRoot(place);
    const form = document.getElementById("token");
    const secret = document.getElementById("secret");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      keep(secret.value.trim());
      secret.value = "";
      show();
    });
    document.getElementById("forget").addEventListener("click", () => {
      keep("");
      show();
    });
    show();
  }

  takeFromAddress();
  addEventListener("DOMContentLoaded", start);
  addEventListener("hashchange", () => {
    if (takeFromAddress() && root !== null) show();
  });
})();
