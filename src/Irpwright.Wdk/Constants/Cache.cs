namespace Irpwright.Wdk;

public static partial class Constants
{
    /// <summary>Bytes of a view: what CcMapData and CcPinRead return never crosses a multiple.</summary>
    public const uint VACB_MAPPING_GRANULARITY = 0x4_0000;

    /// <summary>The caller of CcPinRead can wait.</summary>
    public const uint PIN_WAIT = 1;

    /// <summary>Nobody else may have the range pinned.</summary>
    public const uint PIN_EXCLUSIVE = 2;

    /// <summary>Only pages that are in memory already.</summary>
    public const uint PIN_NO_READ = 4;

    /// <summary>Only if somebody has the range pinned already.</summary>
    public const uint PIN_IF_BCB = 8;

    /// <summary>The caller of CcMapData can wait.</summary>
    public const uint MAP_WAIT = 1;

    /// <summary>Only pages that are in memory already.</summary>
    public const uint MAP_NO_READ = 16;
}
