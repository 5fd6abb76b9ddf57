using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>
/// The page at 0xFFFFF780`00000000 that the kernel writes and everybody reads; inline functions read time and version from it.
/// Declared up to the extended processor state (XState).
/// </summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-kuser_shared_data"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KUSER_SHARED_DATA
{
    public const int SizeOf = 0x3D8;

    [FieldOffset(0x000)] public uint TickCountLowDeprecated;
    [FieldOffset(0x004)] public uint TickCountMultiplier;
    [FieldOffset(0x008)] public KSYSTEM_TIME InterruptTime; // 100 ns since boot
    [FieldOffset(0x014)] public KSYSTEM_TIME SystemTime; // 100 ns since 1601, UTC
    [FieldOffset(0x020)] public KSYSTEM_TIME TimeZoneBias; // 100 ns
    [FieldOffset(0x02C)] public ushort ImageNumberLow;
    [FieldOffset(0x02E)] public ushort ImageNumberHigh;
    [FieldOffset(0x030)] public NtSystemRootArray NtSystemRoot;
    [FieldOffset(0x238)] public uint MaxStackTraceDepth;
    [FieldOffset(0x23C)] public uint CryptoExponent;
    [FieldOffset(0x240)] public uint TimeZoneId;
    [FieldOffset(0x244)] public uint LargePageMinimum;
    [FieldOffset(0x248)] public uint AitSamplingValue;
    [FieldOffset(0x24C)] public uint AppCompatFlag;
    [FieldOffset(0x250)] public ulong RNGSeedVersion;
    [FieldOffset(0x258)] public uint GlobalValidationRunlevel;
    [FieldOffset(0x25C)] public int TimeZoneBiasStamp;
    [FieldOffset(0x260)] public uint NtBuildNumber;
    [FieldOffset(0x264)] public uint NtProductType;
    [FieldOffset(0x268)] public BOOLEAN ProductTypeIsValid;
    [FieldOffset(0x26A)] public ushort NativeProcessorArchitecture;
    [FieldOffset(0x26C)] public uint NtMajorVersion;
    [FieldOffset(0x270)] public uint NtMinorVersion;
    [FieldOffset(0x274)] public ProcessorFeaturesArray ProcessorFeatures; // by PF_*
    [FieldOffset(0x2BC)] public uint TimeSlip;
    [FieldOffset(0x2C0)] public uint AlternativeArchitecture;
    [FieldOffset(0x2C4)] public uint BootId;
    [FieldOffset(0x2C8)] public long SystemExpirationDate;
    [FieldOffset(0x2D0)] public uint SuiteMask;
    [FieldOffset(0x2D4)] public BOOLEAN KdDebuggerEnabled;
    [FieldOffset(0x2D5)] public byte MitigationPolicies;
    [FieldOffset(0x2D6)] public ushort CyclesPerYield;
    [FieldOffset(0x2D8)] public uint ActiveConsoleId;
    [FieldOffset(0x2DC)] public uint DismountCount;
    [FieldOffset(0x2E0)] public uint ComPlusPackage;
    [FieldOffset(0x2E4)] public uint LastSystemRITEventTickCount;
    [FieldOffset(0x2E8)] public uint NumberOfPhysicalPages;
    [FieldOffset(0x2EC)] public BOOLEAN SafeBootMode;
    [FieldOffset(0x2ED)] public byte VirtualizationFlags;
    [FieldOffset(0x2F0)] public uint SharedDataFlags;
    [FieldOffset(0x2F8)] public ulong TestRetInstruction;
    [FieldOffset(0x300)] public long QpcFrequency;
    [FieldOffset(0x308)] public uint SystemCall;
    [FieldOffset(0x320)] public KSYSTEM_TIME TickCount;
    [FieldOffset(0x320)] public ulong TickCountQuad;
    [FieldOffset(0x330)] public uint Cookie;
    [FieldOffset(0x338)] public long ConsoleSessionForegroundProcessId;
    [FieldOffset(0x340)] public ulong TimeUpdateLock;
    [FieldOffset(0x348)] public ulong BaselineSystemTimeQpc;
    [FieldOffset(0x350)] public ulong BaselineInterruptTimeQpc;
    [FieldOffset(0x358)] public ulong QpcSystemTimeIncrement;
    [FieldOffset(0x360)] public ulong QpcInterruptTimeIncrement;
    [FieldOffset(0x368)] public byte QpcSystemTimeIncrementShift;
    [FieldOffset(0x369)] public byte QpcInterruptTimeIncrementShift;
    [FieldOffset(0x36A)] public ushort UnparkedProcessorCount;
    [FieldOffset(0x36C)] public EnclaveFeatureMaskArray EnclaveFeatureMask;
    [FieldOffset(0x37C)] public uint TelemetryCoverageRound;
    [FieldOffset(0x380)] public UserModeGlobalLoggerArray UserModeGlobalLogger;
    [FieldOffset(0x3A0)] public uint ImageFileExecutionOptions;
    [FieldOffset(0x3A4)] public uint LangGenerationCount;
    [FieldOffset(0x3B0)] public ulong InterruptTimeBias; // 100 ns spent asleep, part of InterruptTime
    [FieldOffset(0x3B8)] public ulong QpcBias;
    [FieldOffset(0x3C0)] public uint ActiveProcessorCount;
    [FieldOffset(0x3C4)] public byte ActiveGroupCount;
    [FieldOffset(0x3C6)] public ushort QpcData;
    [FieldOffset(0x3C8)] public long TimeZoneBiasEffectiveStart;
    [FieldOffset(0x3D0)] public long TimeZoneBiasEffectiveEnd;

    [InlineArray(260)]
    public struct NtSystemRootArray
    {
        char element;
    }

    [InlineArray(64)]
    public struct ProcessorFeaturesArray
    {
        BOOLEAN element;
    }

    [InlineArray(4)]
    public struct EnclaveFeatureMaskArray
    {
        uint element;
    }

    [InlineArray(16)]
    public struct UserModeGlobalLoggerArray
    {
        ushort element;
    }
}
