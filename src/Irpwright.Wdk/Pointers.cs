namespace Irpwright.Wdk;

[PointerTo(typeof(char))] public readonly partial struct PWSTR;

[PointerTo(typeof(byte))] public readonly partial struct PUCHAR;

[PointerTo(typeof(long))] public readonly partial struct PLARGE_INTEGER;

[PointerTo(typeof(Guid))] public readonly partial struct PGUID;

[PointerTo(typeof(ushort))] public readonly partial struct PUSHORT;

[PointerTo(typeof(uint))] public readonly partial struct PULONG;

[PointerTo(typeof(ulong))] public readonly partial struct PULONG64;

[PointerTo(typeof(HANDLE))] public readonly partial struct PHANDLE;

[PointerTo(typeof(int))] public readonly partial struct PEX_SPIN_LOCK;

[PointerTo(typeof(PVOID))] public readonly partial struct PPVOID;

[PointerTo(typeof(int))] public readonly partial struct PLONG;
