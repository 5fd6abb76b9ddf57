/* A driver that dereferences NULL in a function of its own, built with debug information of each kind: see README.md. */

static int counter;
static int *volatile nothing;

__attribute__((noinline)) static int ReadThrough(int *p)
{
    counter++;
    return *p;
}

__attribute__((noinline)) static int Twice(int *p)
{
    int first = ReadThrough(p);
    return first + ReadThrough(p);
}

int DriverEntry(void *DriverObject, void *RegistryPath)
{
    (void)DriverObject;
    (void)RegistryPath;
    return Twice(nothing) +
           counter;
}
