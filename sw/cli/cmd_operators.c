/* heddle operators: what the host executor runs of ONNX. */
#include <stdio.h>

#include "../../compiler/onnx/host.h"
#include "cli.h"

static const cli_option options[] = {{NULL, NULL, NULL}};

static hd_status run(const cli_args *a, hd_err *err) {
    int count;
    const hd_host_op *table = hd_host_operators(&count);
    if (!a->json) {
        for (int k = 0; k < count; k++) printf("%-26s %2d to %d\n", table[k].name, table[k].since, table[k].until);
        printf("%d operators, with the operator sets of ONNX each is run in\n", count);
        return HD_OK;
    }
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "operators");
    for (int k = 0; k < count; k++) {
        cJSON *e = cJSON_CreateObject();
        cJSON_AddStringToObject(e, "name", table[k].name);
        cJSON_AddNumberToObject(e, "since", table[k].since);
        cJSON_AddNumberToObject(e, "until", table[k].until);
        cJSON_AddItemToArray(list, e);
    }
    return cli_json(o, err);
}

const cli_command cli_operators = {
    .name = "operators",
    .summary = "the ONNX operators that the host executor runs",
    .about = "Lists the operators with the operator sets they are run in. An ONNX file whose operators the array cannot compute runs these on "
             "the host, between parts on the array.",
    .examples = "heddle operators\n"
                "heddle operators --json",
    .see = "compress, docs/onnx.md",
    .options = options,
    .run = run,
};
