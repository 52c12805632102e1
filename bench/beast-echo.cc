/* An echo server by Boost.Beast, to stand beside ours.
 *
 *   beast-echo     prints "listening on 127.0.0.1:PORT" */
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

/* The plainest stream, without a timeout for each operation, in a context that
 * is known to be run by one thread: what Beast does with the least. */
using stream_t =
    websocket::stream<beast::basic_stream<tcp, asio::io_context::executor_type,
                                          beast::unlimited_rate_policy>>;
using socket_t =
    tcp::socket::rebind_executor<asio::io_context::executor_type>::other;

class session_t : public std::enable_shared_from_this<session_t> {
 public:
  explicit session_t(socket_t socket) : ws_(std::move(socket)) {
  }

  void run() {
    ws_.next_layer().socket().set_option(tcp::no_delay(true));
    ws_.read_message_max(std::uint64_t(1) << 30);
    ws_.auto_fragment(false);
    ws_.async_accept([self = shared_from_this()](error_code error) {
      if (!error) self->read();
    });
  }

 private:
  void read() {
    ws_.async_read(buffer_,
                   [self = shared_from_this()](error_code error, std::size_t) {
                     if (!error) self->write();
                   });
  }

  void write() {
    ws_.binary(ws_.got_binary());
    ws_.async_write(buffer_.data(),
                    [self = shared_from_this()](error_code error, std::size_t) {
                      self->buffer_.clear();
                      if (!error) self->read();
                    });
  }

  stream_t ws_;
  beast::flat_buffer buffer_;
};

using acceptor_t =
    asio::basic_socket_acceptor<tcp, asio::io_context::executor_type>;

void accept(acceptor_t& acceptor) {
  acceptor.async_accept([&acceptor](error_code error, socket_t socket) {
    if (!error) std::make_shared<session_t>(std::move(socket))->run();
    accept(acceptor);
  });
}

} // namespace

int main() {
  asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
  acceptor_t acceptor(context,
                      tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  acceptor.listen(4096);
  std::printf("listening on 127.0.0.1:%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  accept(acceptor);
  /* It ends with the signal that ends it. */
  context.run();
}
