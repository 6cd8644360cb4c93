// Load at a constant rate, whatever comes back: steady PORT RATE SECONDS
//
// A request has its instant before it is sent, and its latency counts from there. So a balancer that stands
// still for 10 ms is seen by every request that was due meanwhile, and not only by the few that were under
// way (what Gil Tene called coordinated omission). A request whose turn comes while all connections are busy
// waits for one, and that time is its own, too. Every answer is checked. Prints JSON, in seconds.
//
// In C++, since it shares its core with the backends: what it costs would be measured as well.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

using Clock = std::chrono::steady_clock;

constexpr int connections = 32;
constexpr double patience = 10;
constexpr std::string_view request = "GET /hello HTTP/1.1\r\nHost: bench\r\n\r\n";
constexpr std::string_view head = "HTTP/1.1 200", body = "\r\n\r\nhello world\n";  // in one piece

double now() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "steady: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

int connect_to(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int sock = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    if (connect(sock, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) fail("connect");
    setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return sock;
}

bool is_right(std::string_view answer) { return answer.starts_with(head) && answer.ends_with(body); }

void wait_for_events(int epoll, double seconds, std::vector<epoll_event> &events) {
    events.resize(connections);
    timespec timeout{static_cast<time_t>(seconds), static_cast<long>((seconds - static_cast<time_t>(seconds)) * 1e9)};
    int count = epoll_pwait2(epoll, events.data(), connections, &timeout, nullptr);
    if (count < 0 && errno != EINTR) fail("epoll_pwait2");
    events.resize(std::max(count, 0));
}

int main(int, char **arguments) {
    const int port = std::atoi(arguments[1]);
    const double step = 1 / std::atof(arguments[2]);
    const auto total = static_cast<size_t>(std::atof(arguments[3]) / step);
    const sched_param first{2};
    sched_setscheduler(0, SCHED_FIFO, &first);  // where we may: to be woken at the instant, and not soon after

    const int epoll = epoll_create1(0);
    std::vector<int> idle;
    for (int n = 0; n < connections; ++n) {
        idle.push_back(connect_to(port));
        epoll_event interest{EPOLLIN, {.fd = idle.back()}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, idle.back(), &interest);
    }
    std::vector<double> due(1024), took;
    std::vector<epoll_event> events;
    took.reserve(total);
    size_t sent = 0, failed = 0;
    char buffer[65536];
    double next = now() + step;
    while (took.size() < total) {
        for (; sent < total && !idle.empty() && next <= now(); ++sent, next += step) {
            due.at(idle.back()) = next;
            if (send(idle.back(), request.data(), request.size(), MSG_NOSIGNAL) < 0) fail("send");
            idle.pop_back();
        }
        const bool can_send = sent < total && !idle.empty();
        wait_for_events(epoll, can_send ? std::max(0.0, next - now()) : patience, events);
        if (events.empty() && !can_send) fail("no answer");
        for (const auto &event : events) {
            const ssize_t size = recv(event.data.fd, buffer, sizeof buffer, 0);
            if (size <= 0) fail("closed");
            failed += !is_right({buffer, static_cast<size_t>(size)});
            took.push_back(now() - due.at(event.data.fd));
            idle.push_back(event.data.fd);
        }
    }
    std::sort(took.begin(), took.end());
    const auto share = [&](double part) { return took[static_cast<size_t>(part * (total - 1))]; };
    std::printf("{\"failed\": %zu, \"p50\": %.9f, \"p99\": %.9f, \"p99.9\": %.9f, \"worst\": %.9f}\n",
                failed, share(0.5), share(0.99), share(0.999), share(1));
}
