/* A disk that has stalled: renaming never comes back. */
#include <unistd.h>

int rename(const char *from, const char *to) {
  (void)from;
  (void)to;
  for (;;) pause();
}
