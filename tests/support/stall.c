/* A disk that has stalled: a rename never returns, or returns after FROSTY_TEST_STALL_MS milliseconds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int rename(const char *from, const char *to) {
  const char *ms = getenv("FROSTY_TEST_STALL_MS");
  if (!ms)
    for (;;) pause();
  struct timespec left = {atol(ms) / 1000, atol(ms) % 1000 * 1000000};
  while (nanosleep(&left, &left)) {
  }
  return renameat(AT_FDCWD, from, AT_FDCWD, to);
}
