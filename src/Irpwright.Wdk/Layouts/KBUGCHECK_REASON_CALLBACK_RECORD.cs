using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A routine that is called for a dump when the system stops. Opaque to drivers; KeInitializeCallbackRecord writes State.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KBUGCHECK_REASON_CALLBACK_RECORD
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public LIST_ENTRY Entry;
    [FieldOffset(0x10)] public PKBUGCHECK_REASON_CALLBACK_ROUTINE CallbackRoutine;
    [FieldOffset(0x18)] public PUCHAR Component;
    [FieldOffset(0x20)] public ulong Checksum;
    [FieldOffset(0x28)] public KBUGCHECK_CALLBACK_REASON Reason;
    [FieldOffset(0x2C)] public KBUGCHECK_BUFFER_DUMP_STATE State;
}
