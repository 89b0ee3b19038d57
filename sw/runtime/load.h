/* Inside of the runtime: a device compared with a geometry, and the parts of a program into its memories from given places on. */
#ifndef HD_LOAD_H
#define HD_LOAD_H
#include "../../drivers/driver.h"

/* Reads the capability registers: HD_MISMATCH with both values where the device is not what g needs. */
hd_status hd_load_check(const hd_driver *driver, hd_device *d, const hd_geometry *g, hd_err *err);
/* Weights and index entries from stream entry `entry` on, or with EXTERN the external words from word `word` on. */
hd_status hd_load_stream(const hd_driver *driver, hd_device *d, const hd_program *p, uint32_t entry, uint32_t word, hd_err *err);
hd_status hd_load_tables(const hd_driver *driver, hd_device *d, const hd_program *p, hd_err *err);
/* Parameters from element `first` on. */
hd_status hd_load_params(const hd_driver *driver, hd_device *d, const hd_program *p, uint32_t first, hd_err *err);
/* n descriptors, END among them, from descriptor `first` on. */
hd_status hd_load_descriptors(const hd_driver *driver, hd_device *d, const uint32_t *desc, uint32_t n, uint32_t first, hd_err *err);
#endif
