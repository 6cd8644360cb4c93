// Uploads by node: `node uploaders.js http|fetch URL BYTES TIMES` prints the status of each response.
const http = require("node:http");

function byHttp(url, body) {
  return new Promise((resolve) => {
    const request = http.request(url, { method: "POST", agent: false, headers: { "Content-Length": body.length } });
    request.on("response", (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode));
    });
    request.on("error", (error) => resolve(String(error)));
    request.end(body);
  });
}

async function byFetch(url, body) {
  try {
    const response = await fetch(url, { method: "POST", body, headers: { Connection: "close" } });
    await response.text();
    return response.status;
  } catch (error) {
    return `${error} ${error.cause}`;
  }
}

async function main([client, url, size, times]) {
  for (let i = 0; i < Number(times); i += 1) {
    const body = Buffer.alloc(Number(size));
    console.log(await (client === "http" ? byHttp : byFetch)(url, body));
  }
}

main(process.argv.slice(2));
