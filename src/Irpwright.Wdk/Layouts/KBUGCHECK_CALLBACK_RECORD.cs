using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A routine that is called when the system stops. Opaque to drivers; KeInitializeCallbackRecord writes State.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KBUGCHECK_CALLBACK_RECORD
{
    public const int SizeOf = 0x40;

    [FieldOffset(0x00)] public LIST_ENTRY Entry;
    [FieldOffset(0x10)] public PKBUGCHECK_CALLBACK_ROUTINE CallbackRoutine;
    [FieldOffset(0x18)] public PVOID Buffer;
    [FieldOffset(0x20)] public uint Length;
    [FieldOffset(0x28)] public PUCHAR Component;
    [FieldOffset(0x30)] public ulong Checksum;
    [FieldOffset(0x38)] public KBUGCHECK_BUFFER_DUMP_STATE State;
}
