namespace Irpwright.Wdk;

// Callbacks of file systems whose files the cache manager caches, named and with parameters as in the WDK.

[Routine] public delegate BOOLEAN ACQUIRE_FOR_LAZY_WRITE(PVOID Context, BOOLEAN Wait);

[Routine] public delegate void RELEASE_FROM_LAZY_WRITE(PVOID Context);

[Routine] public delegate BOOLEAN ACQUIRE_FOR_READ_AHEAD(PVOID Context, BOOLEAN Wait);

[Routine] public delegate void RELEASE_FROM_READ_AHEAD(PVOID Context);
