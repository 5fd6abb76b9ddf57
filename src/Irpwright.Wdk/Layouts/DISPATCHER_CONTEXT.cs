using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The frame that a language handler is called for.</summary>
/// <seealso href="https://learn.microsoft.com/cpp/build/exception-handling-x64"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DISPATCHER_CONTEXT
{
    public const int SizeOf = 0x50;

    [FieldOffset(0x00)] public ulong ControlPc;
    [FieldOffset(0x08)] public ulong ImageBase;
    [FieldOffset(0x10)] public PRUNTIME_FUNCTION FunctionEntry;
    [FieldOffset(0x18)] public ulong EstablisherFrame;
    [FieldOffset(0x20)] public ulong TargetIp;
    [FieldOffset(0x28)] public PCONTEXT ContextRecord;
    [FieldOffset(0x30)] public PEXCEPTION_ROUTINE LanguageHandler;
    [FieldOffset(0x38)] public PVOID HandlerData;
    [FieldOffset(0x40)] public PVOID HistoryTable;
    [FieldOffset(0x48)] public uint ScopeIndex;
    [FieldOffset(0x4C)] public uint Fill0;
}
