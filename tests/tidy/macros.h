/* What cppcheck cannot find: macros of libraries that are loops, and what cmake defines. */
#define cJSON_ArrayForEach(e, a) for ((e) = (a)->child; (e); (e) = (e)->next)
#define HD_SOURCE_DIR ""
#define HD_MODULE_DIR ""
#define HD_DEFAULT_MODEL ""
#define HD_EXPLORE_PAGE ""
