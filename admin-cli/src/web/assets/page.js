// Lists the topics.
"use strict";

const settings = JSON.parse(document.getElementById("settings").textContent);
fetch(`${settings.base_path}/api/topics`)
  .then((answer) => answer.json())
  .then(({ topics, message }) => {
    document.getElementById("page").textContent = message || (topics || []).join(", ") || "No topics found";
  });
