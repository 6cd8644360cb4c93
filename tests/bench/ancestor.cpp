// The design that this balancer grew from: a thread for each client, a mutex around the counter.
//
//     ancestor LISTEN_PORT BACKEND_PORT...
//
// It forwards heads as they are and bodies by Content-Length, on a backend connection of the client's own.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

static std::mutex turn_mutex;
static size_t turn = 0;
static std::vector<int> ports;

static int next_port() {
    std::lock_guard<std::mutex> lock(turn_mutex);
    return ports[turn++ % ports.size()];
}

static sockaddr_in loopback(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    sockaddr_in address = loopback(port);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool send_all(int fd, const char *data, size_t left) {
    while (left) {
        ssize_t sent = send(fd, data, left, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        data += sent;
        left -= sent;
    }
    return true;
}

// One message from `source` to `sink`; what came behind it stays in `buffer`.
static bool relay(int source, int sink, std::string &buffer) {
    char block[65536];
    size_t end;
    while ((end = buffer.find("\r\n\r\n")) == std::string::npos) {
        ssize_t got = recv(source, block, sizeof block, 0);
        if (got <= 0) return false;
        buffer.append(block, got);
    }
    size_t whole = end + 4;
    const char *field = strcasestr(buffer.c_str(), "\r\ncontent-length:");
    if (field && field < buffer.c_str() + end) whole += strtoull(field + 17, nullptr, 10);
    size_t first = std::min(whole, buffer.size());
    if (!send_all(sink, buffer.data(), first)) return false;
    buffer.erase(0, first);
    for (size_t left = whole - first; left;) {
        ssize_t got = recv(source, block, std::min(left, sizeof block), 0);
        if (got <= 0 || !send_all(sink, block, got)) return false;
        left -= got;
    }
    return true;
}

static void serve(int client) {
    int one = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    std::vector<int> backends(65536, -1);
    std::vector<int> used;
    std::string from_client, from_backend;
    for (;;) {
        char peek;
        if (from_client.empty() && recv(client, &peek, 1, MSG_PEEK) <= 0) break;
        int port = next_port();
        if (backends[port] < 0) {
            if ((backends[port] = dial(port)) < 0) break;
            used.push_back(port);
        }
        from_backend.clear();
        if (!relay(client, backends[port], from_client)) break;
        if (!relay(backends[port], client, from_backend)) break;
    }
    for (int port : used) close(backends[port]);
    close(client);
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    for (int i = 2; i < count; i++) ports.push_back(atoi(arguments[i]));
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address = loopback(atoi(arguments[1]));
    if (bind(listener, reinterpret_cast<sockaddr *>(&address), sizeof address)) return 1;
    listen(listener, 4096);
    for (;;) {
        int client = accept(listener, nullptr, nullptr);
        if (client >= 0) std::thread(serve, client).detach();
    }
}
