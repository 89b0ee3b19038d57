/* json_get PATH < file: prints the value at a dotted path ("layers.0.cycles"; "layers.#" counts). Exit code 1 when the text is no
 * JSON or has no such value. */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    static char text[1 << 22];
    size_t n = fread(text, 1, sizeof text - 1, stdin);
    text[n] = 0;
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithOpts(text, &end, 1);
    if (argc != 2 || !root) {
        fprintf(stderr, "json_get: standard input is no JSON\n");
        return 1;
    }
    const cJSON *at = root;
    for (char *key = strtok(argv[1], "."); key && at; key = strtok(NULL, ".")) {
        if (!strcmp(key, "#")) {
            printf("%d\n", cJSON_GetArraySize(at));
            cJSON_Delete(root);
            return 0;
        }
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(key)) : cJSON_GetObjectItemCaseSensitive(at, key);
    }
    if (!at) {
        cJSON_Delete(root);
        return 1;
    }
    char *value = cJSON_Print(at);
    puts(cJSON_IsString(at) ? at->valuestring : value);
    free(value);
    cJSON_Delete(root);
    return 0;
}
