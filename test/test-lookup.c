#include "connect.h"

#include <sys/socket.h>
#include <unistd.h>

/* What a lookup hook may do with the name, and who keeps the loop alive while a
 * hook or a proxy takes its time. What else the hook may do is
 * test-connect.c's, what a proxy may answer test-proxies.c's. */

static peer_t client;
static uvws_options_t options;

static int setup(void** state) {
  names_init(&options);
  return test_loop_setup(state);
}

#undef TEST
#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, setup, test_loop_teardown)

/* ---- the name ---- */

/* What is done inside the hook: "t" terminates, "c" closes, "a" answers, "f"
 * answers with a failure. */
static const char* acts;
static const char* expected_host;

static void act(uvws_lookup_t* lookup, char what) {
  switch (what) {
    case 't': uvws_terminate(&client.ws); break;
    case 'c': assert_int_equal(uvws_close(&client.ws, 1000, NULL, 0), 0); break;
    case 'f': names.status = UV_EAI_NONAME; /* fall through */
    default: answer(lookup, "4-127-0-0-1.test");
  }
}

static void act_and_look(uvws_lookup_t* lookup, const char* host, void* arg) {
  (void)arg;
  names.asked++;
  names.waiting = lookup;
  for (const char* at = acts; *at != '\0'; at++) {
    assert_string_equal(host, expected_host);
    act(lookup, *at);
  }
  assert_string_equal(host, expected_host);
}

/* Also when the socket has ended and the lookup is done. */
static void test_the_name_is_valid_until_the_hook_returns(void** state) {
  static const struct {
    const char* acts;
    const char* log;
  } cases[] = {
      {"ta", "close(1006)"},
      {"tf", "close(1006)"},
      {"at", "close(1006)"},
      {"ft", "close(1006)"},
      {"tat", "close(1006)"},
      {"t", "close(1006)"},
      {"ca", "error(ECONNABORTED) close(1006)"},
      {"ac", "error(ECONNABORTED) close(1006)"},
      {"ctf", "error(ECONNABORTED) close(1006)"},
      {"f", "error(EAI_NONAME) close(1006)"},
  };
  (void)state;
  options.lookup = act_and_look;
  for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
    bool has_proxy = i % 2 == 1;
    acts = cases[i / 2].acts;
    expected_host = has_proxy ? "proxy.test" : "a-name.test";
    options.proxy = has_proxy ? "socks5://proxy.test:1080" : NULL;
    names.status = 0;
    names.asked = 0;
    client_init(&client);
    client_connect(&client, "a-name.test", 80, "/", &options);
    test_run();
    assert_int_equal(names.asked, 1);
    assert_string_equal(client.log, cases[i / 2].log);
    if (names.waiting != NULL) answer(names.waiting, "test");
  }
}

/* ---- a hook that does not answer ---- */

static void leave_waiting(uvws_lookup_t* lookup) {
  (void)lookup;
}

static void unref(void) {
  uvws_unref(&client.ws);
}

/* Nothing else is in the loop, which ends by the deadline and not before: a
 * socket is unreferenced before it connects, or while it does. */
static void check_held_until_the_deadline(const char* host, int port) {
  options.connect_timeout = 100;
  for (int i = 0; i < 3; i++) {
    client_init(&client);
    if (i == 1) unref();
    client_connect(&client, host, port, "/", &options);
    if (i == 2) {
      turns(3);
      unref();
    }
    test_run();
    assert_string_equal(client.log, "error(UVWS_ETIMEOUT) close(1006)");
    if (names.waiting != NULL) answer(names.waiting, names.host);
  }
}

static void test_a_lookup_holds_the_loop(void** state) {
  (void)state;
  names.instead = leave_waiting;
  check_held_until_the_deadline("4-127-0-0-1.test", 80);
  assert_int_equal(names.asked, 3);
}

/* ---- a proxy, outside of the loop ---- */

static const char* const schemes[] = {"http", "socks5"};

static int listener;
static char proxy_url[64];

static void listen_as(const char* scheme) {
  struct sockaddr_storage any;
  struct sockaddr_in name;
  socklen_t len = sizeof(name);
  make_address(&any, "127.0.0.1", 0);
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  assert_int_equal(bind(listener, (struct sockaddr*)&any, sizeof(name)), 0);
  assert_int_equal(listen(listener, 8), 0);
  assert_int_equal(getsockname(listener, (struct sockaddr*)&name, &len), 0);
  snprintf(proxy_url, sizeof(proxy_url), "%s://127.0.0.1:%d", scheme,
           ntohs(name.sin_port));
  options.proxy = proxy_url;
}

/* The kernel connects, and nobody ever says anything. */
static void test_a_silent_proxy_holds_the_loop(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(schemes); i++) {
    listen_as(schemes[i]);
    check_held_until_the_deadline("a-name.test", 80);
    assert_int_equal(names.asked, 0);
    close(listener);
  }
}

static int accept_one(void) {
  int fd = -1;
  while ((fd = accept(listener, NULL, NULL)) < 0) turns(1);
  return fd;
}

/* Whatever comes next. */
static char hear(int fd) {
  char bytes[2048];
  ssize_t n;
  while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) < 0) turns(1);
  assert_true(n > 0);
  return bytes[0];
}

static void say(int fd, const char* text) {
  assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void connect_through(int fd) {
  say(fd, "HTTP/1.1 200 OK\r\n\r\n");
  assert_int_equal(hear(fd), test_has_tls() ? 0x16 : 'G');
  uvws_terminate(&client.ws);
}

static void refuse_to_connect(int fd) {
  say(fd, "HTTP/1.1 403 No\r\n\r\n");
}

static void hang_up(int fd) {
  assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
}

static void be_given_up(int fd) {
  (void)fd;
  turns(3);
  uvws_terminate(&client.ws);
}

static void ignore(uvws_server_t* server, uvws_request_t* request) {
  (void)server;
  (void)request;
}

/* A server keeps what the loop's sockets share, and does not listen. */
static void test_a_proxy_holds_the_loop_no_longer_than_asked(void** state) {
  static const uvws_server_events_t events = {UVWS_SERVER_EVENTS_INIT,
                                              .request = ignore};
  static const struct {
    void (*then)(int fd);
    const char* log;
  } cases[] = {
      {connect_through, "close(1006)"},
      {refuse_to_connect, "error(UVWS_EPROXY) close(1006)"},
      {hang_up, "error(UVWS_EPROXY) close(1006)"},
      {be_given_up, "close(1006)"},
  };
  uvws_server_t server;
  (void)state;
  assert_int_equal(uvws_server_init(test_loop, &server, &events, NULL), 0);
  assert_false(uv_loop_alive(test_loop));
  listen_as("http");
  for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
    client_init(&client);
    if (i % 2 == 1) unref();
    client_connect(&client, "a-name.test", 80, "/", &options);
    int fd = accept_one();
    assert_int_equal(hear(fd), 'C');
    assert_true(uv_loop_alive(test_loop));
    cases[i / 2].then(fd);
    test_run();
    assert_string_equal(client.log, cases[i / 2].log);
    close(fd);
  }
  close(listener);
  uvws_server_close(&server, 0);
  test_run();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_the_name_is_valid_until_the_hook_returns),
      TEST(test_a_lookup_holds_the_loop),
      TEST(test_a_silent_proxy_holds_the_loop),
      TEST(test_a_proxy_holds_the_loop_no_longer_than_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
