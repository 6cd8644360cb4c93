// A node origin that counts: `node node_app.js PORT`.
const seen = {};
require("http").createServer((request, response) => {
  request.on("data", () => {}).on("end", () => {
    const path = request.url.split("?")[0];
    if (path === "/count") return response.end(JSON.stringify(seen));
    seen[path] = (seen[path] || 0) + 1;
    response.end("seen\n");
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
