#include <stdio.h>
#include <string.h>

#include "alloc.h"
#include "environment.h"
#include "tls.h"

/* Where systems keep the certificate authorities that they trust: the first of
 * these that is there. */
static const char* const bundles[] = {
    "/etc/ssl/certs/ca-certificates.crt", /* Debian, Ubuntu, Arch, Gentoo */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
    "/etc/ssl/ca-bundle.pem",                            /* openSUSE */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* older Fedora */
    "/etc/ssl/cert.pem",                     /* Alpine, macOS, OpenBSD */
    "/usr/local/share/certs/ca-root-nss.crt" /* FreeBSD */
};
static const char directory[] = "/etc/ssl/certs";

enum { FILE_MAX = 16 * 1024 * 1024 };

/* ---- files ---- */

static int read_open(uv_file file, uvws__tls_text_t* text) {
  uv_fs_t request;
  int status = uv_fs_fstat(NULL, &request, file, NULL);
  uint64_t size = request.statbuf.st_size;
  bool is_file = (request.statbuf.st_mode & S_IFMT) == S_IFREG;
  uv_fs_req_cleanup(&request);
  if (status != 0) return status;
  if (!is_file) return UV_EINVAL;
  if (size > FILE_MAX) return UV_EFBIG;
  text->data = uvws__malloc((size_t)size + 1);
  if (text->data == NULL) return UV_ENOMEM;
  while (text->len < size) {
    uv_buf_t buf = uv_buf_init((char*)text->data + text->len,
                               (unsigned)(size - text->len));
    status =
        uv_fs_read(NULL, &request, file, &buf, 1, (int64_t)text->len, NULL);
    uv_fs_req_cleanup(&request);
    if (status <= 0) break;
    text->len += (size_t)status;
  }
  text->data[text->len] = '\0';
  return status < 0 ? status : 0;
}

int uvws__file_read(const char* name, uvws__tls_text_t* text) {
  uv_fs_t request;
  *text = (uvws__tls_text_t){NULL, 0};
  int file = uv_fs_open(NULL, &request, name, UV_FS_O_RDONLY, 0, NULL);
  uv_fs_req_cleanup(&request);
  if (file < 0) return file;
  int status = read_open(file, text);
  uv_fs_close(NULL, &request, file, NULL);
  uv_fs_req_cleanup(&request);
  if (status == 0) return 0;
  uvws__free(text->data);
  *text = (uvws__tls_text_t){NULL, 0};
  return status;
}

/* Adds a file to what there is. */
static void append(uvws__tls_text_t* text, const char* name) {
  uvws__tls_text_t more;
  if (uvws__file_read(name, &more) != 0) return;
  uint8_t* data = text->len + more.len > FILE_MAX
                      ? NULL
                      : uvws__realloc(text->data, text->len + more.len + 2);
  if (data != NULL) {
    memcpy(data + text->len, more.data, more.len);
    text->len += more.len;
    data[text->len++] = '\n';
    data[text->len] = '\0';
    text->data = data;
  }
  uvws__free(more.data);
}

/* Whatever files a directory has: OpenSSL's have names of eight digits and a
 * number, and often a link beside each. */
static bool is_hashed(const char* name) {
  return strspn(name, "0123456789abcdef") == 8 && name[8] == '.';
}

static bool read_directory(const char* path, uvws__tls_text_t* text) {
  uv_fs_t request;
  uv_dirent_t entry;
  char name[1024];
  *text = (uvws__tls_text_t){NULL, 0};
  if (uv_fs_scandir(NULL, &request, path, 0, NULL) >= 0)
    while (uv_fs_scandir_next(&request, &entry) == 0) {
      int len = snprintf(name, sizeof(name), "%s/%s", path, entry.name);
      if (is_hashed(entry.name) && len > 0 && (size_t)len < sizeof(name))
        append(text, name);
    }
  uv_fs_req_cleanup(&request);
  return text->len > 0;
}

/* ---- the trust store ---- */

bool uvws__trust_read(uvws__tls_text_t* text) {
  for (size_t i = 0; i < sizeof(bundles) / sizeof(bundles[0]); i++)
    if (uvws__file_read(bundles[i], text) == 0) return true;
  return read_directory(directory, text);
}

bool uvws__trust_read_environment(uvws__tls_text_t* text) {
  const char* file = uvws__environment("SSL_CERT_FILE");
  const char* path = uvws__environment("SSL_CERT_DIR");
  if (file != NULL) return uvws__file_read(file, text) == 0;
  return path != NULL ? read_directory(path, text) : uvws__trust_read(text);
}
