namespace Irpwright.Wdk;

public static partial class Constants
{
    public const uint METHOD_BUFFERED = 0;
    public const uint METHOD_IN_DIRECT = 1;
    public const uint METHOD_OUT_DIRECT = 2;
    public const uint METHOD_NEITHER = 3;

    public const uint FILE_ANY_ACCESS = 0;
    public const uint FILE_SPECIAL_ACCESS = 0;
    public const uint FILE_READ_ACCESS = 1;
    public const uint FILE_WRITE_ACCESS = 2;

    /// <summary>An I/O control code: device type 31..16, required access 15..14, function 13..2, buffering method 1..0.</summary>
    public static uint CTL_CODE(uint DeviceType, uint Function, uint Method, uint Access) =>
        DeviceType << 16 | Access << 14 | Function << 2 | Method;

    public static uint DEVICE_TYPE_FROM_CTL_CODE(uint ctrlCode) => ctrlCode >> 16;

    public static uint METHOD_FROM_CTL_CODE(uint ctrlCode) => ctrlCode & 3;

    /// <summary>The access a handle must have for the code: FILE_ANY_ACCESS, FILE_READ_ACCESS, FILE_WRITE_ACCESS or both.</summary>
    public static uint ACCESS_FROM_CTL_CODE(uint ctrlCode) => ctrlCode >> 14 & 3;

    public static uint IoGetFunctionCodeFromCtlCode(uint ControlCode) => ControlCode >> 2 & 0xFFF;
}
