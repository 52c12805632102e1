#include "tls-peers.h"

#include "connect.h"

/* Which proxy is taken: by the options, or by the environment's variables. Not
 * a byte is sent: a name that is looked up is found by nobody, and an address
 * is of another family than the one to connect from. */

/* The scheme is part of each case. */
#undef uvws_connect

static peer_t client;
static uvws_options_t options;
static uvws_tls_t* tls;
static struct sockaddr_storage local;

static const char* const variables[] = {
    "ws_proxy",  "WS_PROXY",  "http_proxy",  "HTTP_PROXY",
    "wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY",
    "all_proxy", "ALL_PROXY", "no_proxy",    "NO_PROXY"};

static int make_configuration(void** state) {
  (void)state;
  tls = tls_client_config(NULL);
  return 0;
}

static int drop_configuration(void** state) {
  (void)state;
  uvws_tls_unref(tls);
  return 0;
}

static void find_nobody(uvws_lookup_t* lookup) {
  names.waiting = NULL;
  uvws_lookup_done(lookup, UV_EAI_NONAME, NULL, 0);
}

static int environment_setup(void** state) {
  for (size_t i = 0; i < COUNT_OF(variables); i++) unsetenv(variables[i]);
  names_init(&options);
  names.instead = find_nobody;
  options.flags = UVWS_CONNECT_ENV_PROXY;
  options.tls = options.proxy_tls = tls;
  return test_loop_setup(state);
}

#undef TEST
#define TEST(name) \
  cmocka_unit_test_setup_teardown(name, environment_setup, test_loop_teardown)

/* "name=value name=value"; a comma in a value is a blank there. */
static void set_environment(const char* text) {
  char copy[512], *save = NULL;
  for (size_t i = 0; i < COUNT_OF(variables); i++) unsetenv(variables[i]);
  snprintf(copy, sizeof(copy), "%s", text);
  for (char* at = strtok_r(copy, " ", &save); at != NULL;
       at = strtok_r(NULL, " ", &save)) {
    char* value = strchr(at, '=');
    *value++ = '\0';
    assert_int_equal(setenv(at, value, 1), 0);
  }
}

/* Connects in vain; names.host is whose address was wanted, "" for none. */
static void try_to_connect(const char* url) {
  bool six = strchr(url, '[') != NULL;
  bool literal = six || strspn(strstr(url, "://") + 3, "0123456789.:/") ==
                            strlen(strstr(url, "://") + 3);
  make_address(&local, six ? "127.0.0.1" : "::1", 0);
  options.local_address = literal ? (const struct sockaddr*)&local : NULL;
  names.host[0] = '\0';
  client_init(&client);
  assert_int_equal(uvws_connect(&client.ws, url, &options), 0);
  test_run();
  assert_string_equal(client.log, names.host[0] == '\0'
                                      ? "error(EAFNOSUPPORT) close(1006)"
                                      : "error(EAI_NONAME) close(1006)");
}

static void expect_way(const char* name, const char* url, const char* way) {
  try_to_connect(url);
  if (strcmp(names.host, way) != 0) print_error("%s, %s: ", name, url);
  assert_string_equal(names.host, way);
}

/* ---- which variable ---- */

#define WS  "ws://target.test/"
#define WSS "wss://target.test/"

static void test_the_variables(void** state) {
  static const struct {
    const char* environment;
    const char* url;
    const char* way;
  } cases[] = {
      {"", WS, "target.test"},
      {"", WSS, "target.test"},
      {"ws_proxy=http://a.test:1 http_proxy=http://b.test all_proxy=c.test", WS,
       "a.test"},
      {"http_proxy=http://b.test:1 all_proxy=http://c.test", WS, "b.test"},
      {"all_proxy=socks5://c.test", WS, "c.test"},
      {"wss_proxy=a.test https_proxy=b.test", WS, "target.test"},
      {"WS_PROXY=http://a.test http_proxy=http://b.test", WS, "a.test"},
      {"WS_PROXY=http://a.test ws_proxy=http://b.test", WS, "b.test"},
      {"ALL_PROXY=http://a.test", WS, "a.test"},
      {"ALL_PROXY=http://a.test all_proxy=http://b.test", WS, "b.test"},
      /* What a CGI program's client may set. */
      {"HTTP_PROXY=http://a.test", WS, "target.test"},
      {"HTTP_PROXY=http://a.test ALL_PROXY=http://b.test", WS, "b.test"},
      {"HTTP_PROXY=http://a.test http_proxy=http://b.test", WS, "b.test"},
      {"HTTP_PROXY=http://a.test", WSS, "target.test"},

      {"wss_proxy=https://a.test https_proxy=http://b.test all_proxy=c.test",
       WSS, "a.test"},
      {"https_proxy=http://b.test all_proxy=http://c.test", WSS, "b.test"},
      {"all_proxy=socks5h://c.test", WSS, "c.test"},
      {"ws_proxy=a.test http_proxy=b.test", WSS, "target.test"},
      {"WSS_PROXY=http://a.test https_proxy=http://b.test", WSS, "a.test"},
      {"HTTPS_PROXY=http://a.test all_proxy=http://b.test", WSS, "a.test"},
      {"HTTPS_PROXY=http://a.test https_proxy=http://b.test", WSS, "b.test"},
      {"HTTPS_PROXY=http://a.test", WS, "target.test"},

      {"ws_proxy=a.test", WS, "a.test"},
      {"ws_proxy=a.test:3128", WS, "a.test"},
      {"ws_proxy=u:p@a.test:3128/", WS, "a.test"},
      {"ws_proxy=HTTP://A.test", WS, "a.test"},
      {"ws_proxy=", WS, "target.test"},
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    set_environment(cases[i].environment);
    expect_way(cases[i].environment, cases[i].url, cases[i].way);
  }
}

/* What the options say goes first, and the environment counts only for those
 * who ask. */
static void test_the_options_go_first(void** state) {
  (void)state;
  set_environment("ws_proxy=http://a.test no_proxy=target.test");
  options.proxy = "http://option.test";
  expect_way("option", WS, "option.test");
  set_environment("ws_proxy=http://a.test");
  expect_way("option", WS, "option.test");
  options.proxy = "";
  expect_way("none by option", WS, "target.test");
  options.proxy = NULL;
  expect_way("environment", WS, "a.test");
  options.flags = 0;
  expect_way("no flag", WS, "target.test");
}

/* Nobody else can reach a unix socket. */
static void test_a_pipe_goes_without(void** state) {
  (void)state;
  options.proxy = "http://a.test";
  options.pipe = "/nonexistent/socket";
  client_init(&client);
  assert_int_equal(uvws_connect(&client.ws, WS, &options), 0);
  test_run();
  assert_string_equal(client.log, "error(ENOENT) close(1006)");
  assert_int_equal(names.asked, 0);
}

/* ---- no_proxy ---- */

/* Those whom `list` excepts, and one whom it does not. */
static const struct {
  const char* list;
  const char* excepted[4];
  const char* others[4];
} lists[] = {
    {"", {NULL}, {"ws://a.test/", "ws://127.0.0.1/"}},
    {"*",
     {"ws://a.test/", "wss://a.test/", "ws://127.0.0.1/", "ws://[::1]/"},
     {NULL}},
    {"example.com",
     {"ws://example.com/", "ws://EXAMPLE.com:81/", "wss://a.b.example.com/"},
     {"ws://notexample.com/", "ws://example.com.test/", "ws://com/",
      "ws://xample.com/"}},
    {"EXAMPLE.Com", {"ws://example.com/", "ws://a.example.com/"}, {NULL}},
    {".example.com",
     {"ws://example.com/", "ws://a.example.com/"},
     {"ws://notexample.com/", "ws://example.org/"}},
    {"*.example.com",
     {"ws://a.example.com/", "ws://a.b.example.com/"},
     {"ws://notexample.com/", "ws://example.org/"}},
    {".", {NULL}, {"ws://a.test/", "ws://127.0.0.1/"}},
    {"*.", {NULL}, {"ws://a.test/", "ws://127.0.0.1/"}},
    {"example.com:80",
     {"ws://example.com/", "ws://example.com:80/", "ws://a.example.com/"},
     {"ws://example.com:81/", "wss://example.com/", "ws://notexample.com/"}},
    {"example.com:443",
     {"wss://example.com/", "ws://example.com:443/"},
     {"ws://example.com/"}},
    {"127.0.0.1",
     {"ws://127.0.0.1/", "ws://127.0.0.1:81/", "ws://2130706433/"},
     {"ws://127.0.0.2/", "ws://127.0.0.11/", "ws://[::1]/"}},
    {"127.0.0.1:81", {"ws://127.0.0.1:81/"}, {"ws://127.0.0.1/"}},
    {"10.0.0.0/8",
     {"ws://10.0.0.1/", "ws://10.255.255.255/"},
     {"ws://11.0.0.0/", "ws://9.255.255.255/", "ws://[a00::]/"}},
    {"10.0.0.0/9",
     {"ws://10.127.255.255/", "ws://10.0.0.0/"},
     {"ws://10.128.0.0/"}},
    {"10.1.2.3/31",
     {"ws://10.1.2.2/", "ws://10.1.2.3/"},
     {"ws://10.1.2.1/", "ws://10.1.2.4/"}},
    {"10.1.2.3/32", {"ws://10.1.2.3/"}, {"ws://10.1.2.2/"}},
    {"10.0.0.0/0",
     {"ws://10.0.0.1/", "ws://192.0.2.1/"},
     {"ws://a.test/", "ws://[::1]/"}},
    {"10.0.0.0/33", {NULL}, {"ws://10.0.0.0/"}},
    {"10.0.0.0/-1", {NULL}, {"ws://10.0.0.0/"}},
    {"::1", {"ws://[::1]/", "ws://[::1]:81/"}, {"ws://[::2]/", "ws://[1::1]/"}},
    {"[::1]", {"ws://[::1]/", "ws://[::1]:81/"}, {"ws://[::2]/"}},
    {"0:0::0001", {"ws://[::1]/"}, {"ws://[::2]/"}},
    {"[::1]:81", {"ws://[::1]:81/"}, {"ws://[::1]/", "ws://[::2]:81/"}},
    {"2001:db8::/32",
     {"ws://[2001:db8::1]/", "ws://[2001:db8:ffff::]:81/"},
     {"ws://[2001:db9::1]/", "ws://32.1.13.184/"}},
    {"2001:db8::/33", {"ws://[2001:db8:7fff::]/"}, {"ws://[2001:db8:8000::]/"}},
    {"::/0", {"ws://[::1]/", "ws://[ffff::]/"}, {"ws://127.0.0.1/"}},
    {"::/129", {NULL}, {"ws://[::]/"}},
    {"a.test,example.com",
     {"ws://example.com/", "ws://a.test/"},
     {"ws://b.test/"}},
    {"a.test, example.com",
     {"ws://example.com/", "ws://a.test/"},
     {"ws://b.test/"}},
    {"a.test example.com\tb.test",
     {"ws://example.com/", "ws://a.test/", "ws://b.test/"},
     {"ws://c.test/"}},
    {" ,, a.test ,example.com, ,",
     {"ws://example.com/", "ws://a.test/"},
     {"ws://b.test/"}},
    {"a.test:81,10.0.0.0/8,::1,b.test",
     {"ws://a.test:81/", "ws://10.9.9.9/", "ws://[::1]/", "ws://b.test/"},
     {"ws://a.test/", "ws://127.0.0.1/"}},
};

/* The way there is none by a proxy. */
static void expect_direct(const char* list, const char* url) {
  try_to_connect(url);
  if (strcmp(names.host, "proxy.test") == 0) print_error("%s, %s: ", list, url);
  assert_string_not_equal(names.host, "proxy.test");
}

static void expect_list(const char* list, const char* const excepted[4],
                        const char* const others[4]) {
  set_environment("all_proxy=http://proxy.test:3128");
  assert_int_equal(setenv("no_proxy", list, 1), 0);
  for (size_t i = 0; i < 4 && excepted[i] != NULL; i++)
    expect_direct(list, excepted[i]);
  for (size_t i = 0; i < 4 && others[i] != NULL; i++)
    expect_way(list, others[i], "proxy.test");
}

static void test_no_proxy(void** state) {
  (void)state;
  for (size_t i = 0; i < COUNT_OF(lists); i++)
    expect_list(lists[i].list, lists[i].excepted, lists[i].others);
}

static void test_no_proxy_in_uppercase(void** state) {
  (void)state;
  set_environment("all_proxy=http://proxy.test NO_PROXY=a.test");
  expect_direct("NO_PROXY", "ws://a.test/");
  expect_way("NO_PROXY", "ws://b.test/", "proxy.test");
  set_environment(
      "all_proxy=http://proxy.test NO_PROXY=a.test no_proxy=b.test");
  expect_way("NO_PROXY", "ws://a.test/", "proxy.test");
  expect_direct("no_proxy", "ws://b.test/");
}

/* Whoever misspells a network has not excepted all there are. */
static void test_networks_without_a_length(void** state) {
  static const char* const networks[] = {"10.0.0.0/", "10.0.0.0/x",
                                         "10.0.0.0/8x", "10.0.0.0//8"};
  static const char* const none[4] = {NULL};
  static const char* const others[4] = {"ws://11.0.0.1/", "ws://192.0.2.1/"};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(networks); i++)
    expect_list(networks[i], none, others);
}

/* An address is not below another. */
static void test_an_address_has_no_domain(void** state) {
  static const char* const domains[] = {"0.0.1", ".0.0.1", "1", "*.1"};
  static const char* const none[4] = {NULL};
  static const char* const others[4] = {"ws://127.0.0.1/"};
  (void)state;
  for (size_t i = 0; i < COUNT_OF(domains); i++)
    expect_list(domains[i], none, others);
}

/* ---- URLs of proxies ---- */

static void test_ports(void** state) {
  static const struct {
    const char* proxy;
    const char* at;
  } cases[] = {
      {"http://127.0.0.1", "127.0.0.1:80"},
      {"https://127.0.0.1", "127.0.0.1:443"},
      {"socks5://127.0.0.1", "127.0.0.1:1080"},
      {"socks5h://127.0.0.1", "127.0.0.1:1080"},
      {"127.0.0.1", "127.0.0.1:80"},
      {"127.0.0.1:3128", "127.0.0.1:3128"},
      {"http://127.0.0.1:443", "127.0.0.1:443"},
      {"http://127.0.0.1:80/", "127.0.0.1:80"},
      {"http://127.0.0.1:/", "127.0.0.1:80"},
      {"https://127.0.0.1:80", "127.0.0.1:80"},
      {"https://127.0.0.1:443", "127.0.0.1:443"},
      {"https://127.0.0.1/path?query", "127.0.0.1:443"},
      {"socks5://127.0.0.1:80", "127.0.0.1:80"},
      {"socks5://127.0.0.1:443", "127.0.0.1:443"},
      {"socks5h://u:p@127.0.0.1", "127.0.0.1:1080"},
      {"HTTPS://127.0.0.1", "127.0.0.1:443"},
      {"SOCKS5://127.0.0.1:65535", "127.0.0.1:65535"},
      {"http://u@127.0.0.1", "127.0.0.1:80"},
      {"http://0x7f.1:1", "127.0.0.1:1"},
  };
  (void)state;
  make_address(&local, "::1", 0);
  options.local_address = (const struct sockaddr*)&local;
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    char expected[128];
    options.proxy = cases[i].proxy;
    client_init(&client);
    assert_int_equal(uvws_connect(&client.ws, WS, &options), 0);
    test_run();
    snprintf(expected, sizeof(expected), "the proxy at %s: %s", cases[i].at,
             uv_strerror(UV_EAFNOSUPPORT));
    assert_string_equal(reason, expected);
  }
  make_address(&local, "127.0.0.1", 0);
  options.proxy = "socks5://[::1]";
  client_init(&client);
  assert_int_equal(uvws_connect(&client.ws, WS, &options), 0);
  test_run();
  assert_non_null(strstr(reason, " [::1]:1080: "));
  assert_int_equal(names.asked, 0);
}

#define TEN(x)  x x x x x x x x x x
#define LONGEST TEN(TEN("ab")) TEN("abcde") "fghij"

static void expect_refused(const char* proxy) {
  client_init(&client);
  options.proxy = proxy;
  int status = uvws_connect(&client.ws, WS, &options);
  if (status != UV_EINVAL) print_error("%s: ", proxy);
  assert_int_equal(status, UV_EINVAL);
  assert_int_equal(uvws_ready_state(&client.ws), UVWS_CLOSED);
  set_environment("");
  options.proxy = NULL;
  assert_int_equal(setenv("ws_proxy", proxy, 1), 0);
  assert_int_equal(uvws_connect(&client.ws, WS, &options), UV_EINVAL);
  assert_false(uv_loop_alive(test_loop));
  assert_string_equal(client.log, "");
}

static void test_urls_of_no_proxy(void** state) {
  static const char* const urls[] = {
      "ftp://127.0.0.1",
      "ws://127.0.0.1",
      "socks://127.0.0.1",
      "socks4://127.0.0.1",
      "socks4a://127.0.0.1",
      "://127.0.0.1",
      "xhttp://127.0.0.1",
      "http://",
      "http:///",
      "socks5://",
      "http://:80",
      "http://u:p@",
      "http://a b",
      "http://127.0.0.1:65536",
      "http://127.0.0.1:x",
      "http://127.0.0.1:-1",
      "https://127.0.0.1:8o",
      "http://[::1",
      "http://::1",
      "http://1.2.3.4.5",
      "http://a.test/#fragment",
      "socks5://user@127.0.0.1",
      "socks5://user:@127.0.0.1",
      "socks5://:password@127.0.0.1",
      "socks5h://user@127.0.0.1",
      "socks5://" LONGEST "x:p@127.0.0.1",
      "socks5://u:" LONGEST "x@127.0.0.1",
      "http://u%3Av:p@127.0.0.1",
      "http://u%0A:p@127.0.0.1",
      "https://u:p%0D%0AX:@127.0.0.1",
  };
  (void)state;
  assert_int_equal(strlen(LONGEST), 255);
  for (size_t i = 0; i < COUNT_OF(urls); i++) expect_refused(urls[i]);
}

/* Excepted from the proxy, nobody looks what it is. */
static void test_a_url_that_is_not_looked_at(void** state) {
  (void)state;
  set_environment("ws_proxy=ftp://127.0.0.1 no_proxy=target.test");
  expect_direct("no_proxy", WS);
  set_environment("wss_proxy=ftp://127.0.0.1");
  expect_direct("wss_proxy", WS);
}

static void test_what_just_fits(void** state) {
  static const char* const urls[] = {
      "socks5://" LONGEST ":" LONGEST "@proxy.test",
      "http://" LONGEST "x:" LONGEST "x@proxy.test",
      "socks5://u%3Av:%3A@proxy.test",
  };
  (void)state;
  for (size_t i = 0; i < COUNT_OF(urls); i++) {
    options.proxy = urls[i];
    expect_way("what just fits", WS, "proxy.test");
  }
  /* A name of 255 bytes can be told to a proxy, and no longer one. */
  options.proxy = "socks5://proxy.test";
  expect_way("the longest name", "ws://" LONGEST "/", "proxy.test");
  client_init(&client);
  assert_int_equal(uvws_connect(&client.ws, "ws://" LONGEST "x/", &options),
                   UV_EINVAL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_the_variables),
      TEST(test_the_options_go_first),
      TEST(test_a_pipe_goes_without),
      TEST(test_no_proxy),
      TEST(test_no_proxy_in_uppercase),
      TEST(test_networks_without_a_length),
      TEST(test_an_address_has_no_domain),
      TEST(test_ports),
      TEST(test_urls_of_no_proxy),
      TEST(test_a_url_that_is_not_looked_at),
      TEST(test_what_just_fits),
  };
  return cmocka_run_group_tests(tests, make_configuration, drop_configuration);
}
